"""docs/recipes/proxy.md: slow starters on ports of their own behind haproxy, through 20 roll-outs and 50 restarts."""

from load import Load
from recipe import Daemon, Page, check, main, ready
from rolling import put_through


def prepare():
    pass


def trial():
    page = Page("proxy")
    page.write()
    with Daemon():
        page.run("wsup ctl apply")
        ready("shop", 3)
        with Load("127.0.0.1", 8080, keep_alive=True) as load:
            sent, failed = put_through(load, "shop", True, first=2)
        check(failed == 0, f"{failed} of {sent} requests failed")


main(prepare, trial)
