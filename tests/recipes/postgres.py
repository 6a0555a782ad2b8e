"""docs/recipes/postgres.md: everything up in order from nothing, and the postmaster killed under pgbench, with nothing lost that was committed."""

import glob
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from recipe import Daemon, Page, check, ctl, events, main, ps, ready, wait

KILLS = 5
# pgbench transactions that are to be committed before each of them.
BEFORE = 500
BIN = "/usr/lib/postgresql/15/bin"


def prepare():
    # What Debian's package does at boot (tmpfiles.d).
    os.makedirs("/run/postgresql", mode=0o2775)
    shutil.chown("/run/postgresql", "postgres", "postgres")


def postgres(*words):
    return subprocess.run(words, user="postgres", group="postgres", cwd="/", check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def sql(query, database="shop"):
    said = postgres(f"{BIN}/psql", "--host=/run/postgresql", "--no-psqlrc", "-Atc", query, database)
    return [int(number) for number in said.strip().split("|")]


def place(reason, name, last=False):
    """Where in the list of events something happened, first or last."""
    found = [at for at, one in enumerate(events()) if one["reason"] == reason and one["name"] == name]
    check(found, f"no event {reason} of {name}")
    return found[-1 if last else 0]


def in_order():
    steps = [("InstanceReady", "db"), ("InstanceStarted", "migrate"), ("JobCompleted", "migrate"), ("InstanceStarted", "api"),
             ("InstanceReady", "api")]
    places = [place(*step) for step in steps]
    print("in order: " + " < ".join(f"{name} {reason} ({at})" for (reason, name), at in zip(steps, places)))
    check(places == sorted(places), "not in this order")
    for unit in ("db", "migrate", "api"):
        check(not [one for one in events() if one["name"] == unit and one["reason"] in ("BackOff", "JobFailed", "InstanceKilled")],
              f"{unit} failed on the way")


class Writer(threading.Thread):
    """Inserts through the API, and remembers each row that it was told to be committed."""

    def __init__(self):
        super().__init__()
        self.done, self.committed, self.refused = threading.Event(), [], 0

    def run(self):
        number = 0
        while not self.done.is_set():
            number += 1
            ports = [one["ports"]["http"] for one in ps("api") if one["pid"]] if number % 50 == 1 or not ports else ports
            try:
                url = f"http://127.0.0.1:{ports[number % len(ports)]}/visits"
                with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
                    self.committed.append(int(answer.read()))
            except (OSError, IndexError, urllib.error.URLError):
                self.refused += 1
                time.sleep(0.05)


def kill(number):
    """Kills the postmaster in the midst of pgbench. How many transactions pgbench knows to be committed."""
    before = sql("select count(*) from pgbench_history")[0]
    bench = subprocess.Popen(
        [f"{BIN}/pgbench", "--host=/run/postgresql", "--no-vacuum", "-c4", "-T600", "shop"],
        user="postgres", group="postgres", cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait("pgbench is under way", lambda: sql("select count(*) from pgbench_history")[0] > before + BEFORE)
    one = ps("db")[0]
    os.kill(one["pid"], signal.SIGKILL)
    began = time.monotonic()
    wait("the database is ready again", lambda: [o for o in ps("db") if o["ready"] and o["pid"] != one["pid"]])
    took = time.monotonic() - began
    said = bench.communicate(timeout=60)[0]
    check(bench.returncode != 0, "pgbench has not noticed")
    processed = int(re.search(r"transactions actually processed: (\d+)", said).group(1))
    after, sums = sql("select count(*) from pgbench_history")[0], sql(
        "select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches), "
        "(select sum(tbalance) from pgbench_tellers), (select sum(delta) from pgbench_history)")
    print(f"kill {number}: ready again after {took:.1f} s; pgbench was told of {processed} commits, {after - before} are there; "
          f"balances {sums}", flush=True)
    check(after - before >= processed, "commits are lost")
    check(len(set(sums)) == 1, "half a transaction is there")
    check(after - before <= processed + 4, "more than was under way")
    return processed


def returns(daemon, rows):
    """All of it goes, and comes back on the same data: by an operator, with the daemon, and after it was killed."""
    def same(what):
        ready("db", 1)
        ready("api", 2)
        check(sql("select count(*) from visits")[0] == rows, f"rows are lost, {what}")
        check(not [one for one in events() if one["reason"] == "InstanceKilled"], f"had to be killed, {what}")
        print(f"{what}: the same rows")
    ctl("stop", "--all")
    wait("all is stopped", lambda: not [one for one in ps("db") + ps("api") if one["pid"]])
    ctl("start", "--all")
    same("stopped and started")
    daemon.end()
    check(not glob.glob("/run/postgresql/.s.PGSQL.*"), "the database was not shut down")
    daemon.start()
    same("the daemon ended and started")
    check(not [one for one in events() if one["name"] == "migrate" and one["reason"] == "InstanceStarted"], "the migration ran again")
    before = ps("db")[0]["pid"]
    daemon.end(signal.SIGKILL)
    daemon.start()
    check(ps("db")[0]["pid"] == before, "the database is another process")
    same("the daemon killed and started, the database the same process")


def trial():
    page = Page("postgres")
    with Daemon() as daemon:
        page.write()
        page.run("wsup ctl apply")
        ready("db", 1)
        ready("api", 2)
        in_order()
        postgres(f"{BIN}/pgbench", "--host=/run/postgresql", "--quiet", "-i", "-s2", "shop")
        writer = Writer()
        writer.start()
        try:
            processed = sum(kill(number + 1) for number in range(KILLS))
        finally:
            writer.done.set()
            writer.join()
        there = set(sql("select string_agg(id::text, '|') from visits"))
        rows, lost = len(there), set(writer.committed) - there
        print(f"API: {len(writer.committed)} inserts acknowledged, {writer.refused} refused, {rows} rows there, {len(lost)} lost")
        check(not lost and len(writer.committed) > 0, f"lost: {sorted(lost)[:20]}")
        print(f"in all: {KILLS} kills, {processed} commits of pgbench and {len(writer.committed)} of the API, none lost")
        one = ps("db")[0]
        check(one["restarts"] == KILLS and one["name"] == "db-0", f"db-0 was restarted {one['restarts']} times")
        check(place("JobCompleted", "migrate") == place("JobCompleted", "migrate", last=True), "the migration ran again")
        ready("api", 2)
        print(page.run("wsup ctl trigger"), end="")
        returns(daemon, rows)


main(prepare, trial)
