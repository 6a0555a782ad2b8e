"""docs/recipes/web.md: three servers that share a socket, through 20 roll-outs and 50 restarts each."""

import os

from load import Load
from recipe import Daemon, Page, check, main, ready
from rolling import put_through

# The unit, its port, whether clients keep connections, and whether an answer tells the version.
SERVERS = [
    ("web", 8081, False, True),
    ("web", 8081, True, True),
    ("app", 8082, False, True),
    ("app", 8082, True, True),
    ("nginx", 8083, False, False),
]


def prepare():
    Page("web").run("venv")


def trial():
    page = Page("web")
    page.write()
    total = lost = 0
    with Daemon():
        page.run("wsup ctl apply")
        for number, (unit, port, keep_alive, tells) in enumerate(SERVERS):
            ready(unit, 3)
            with Load("127.0.0.1", port, keep_alive=keep_alive) as load:
                sent, failed = put_through(load, unit, tells, first=2 + 100 * number)
            total, lost = total + sent, lost + failed
        print(f"in all: {total} requests, {lost} failed")
        check(lost == 0, f"{lost} of {total} requests failed")


main(prepare, trial)
