"""What the trials of recipes share: the page, the daemon, conditions with a deadline, and the verdict."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

PAGES = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "recipes"
# How long a condition may take. Generous: the machine may be busy with other things.
DEADLINE = 120


class Page:
    """A page of docs/recipes: its files (blocks whose first line is `# /path`) and its steps (blocks of `sh`)."""

    def __init__(self, name):
        text = (PAGES / f"{name}.md").read_text()
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
        self.files, self.steps = {}, []
        for language, body in blocks:
            first = body.split("\n", 1)[0]
            if re.fullmatch(r"(#|--) /\S+", first):
                self.files[first.split()[1]] = body
            elif language == "sh":
                self.steps.append(body)

    def write(self, *paths):
        """Writes these of its files, or all."""
        for path in paths or self.files:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            new = pathlib.Path(os.path.dirname(path)) / f".{os.path.basename(path)}.new"
            new.write_text(self.files[path])
            new.rename(path)

    def run(self, words):
        """Runs the one step that has these words in it, exactly as it stands."""
        found = [step for step in self.steps if words in step]
        assert len(found) == 1, f"{len(found)} steps with `{words}`"
        print("".join(f"$ {line}\n" for line in found[0].splitlines()), end="", flush=True)
        return subprocess.run(["sh", "-e", "-c", found[0]], check=True, stdout=subprocess.PIPE, text=True).stdout


def ctl(*words, check=True):
    """`wsup ctl` with these words; what it printed."""
    done = subprocess.run(["wsup", "ctl", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode:
        raise SystemExit(f"wsup ctl {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def ps(target):
    return json.loads(ctl("ps", target, "-o", "json", check=False) or "[]")


def events():
    return [json.loads(line) for line in ctl("events", "-o", "json").splitlines()]


def wait(what, condition, deadline=DEADLINE):
    """Waits until the condition gives something, and gives it."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail(f"waited {deadline} s in vain until {what}")
        time.sleep(0.05)


def ready(target, count):
    """Waits until a unit has so many ready instances and no other."""
    def they():
        all_ = ps(target)
        return len(all_) == count and all(one["ready"] for one in all_) and all_
    return wait(f"{target} has {count} ready", they)


class Daemon:
    """`wsup daemon` as a machine's: its folders are those of the page."""

    def __enter__(self):
        self.start()
        return self

    def start(self):
        self.log = open("/tmp/daemon.stderr", "a")
        self.child = subprocess.Popen(["wsup", "daemon"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait("the daemon answers", lambda: subprocess.run(
            ["wsup", "ctl", "ping"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)

    def end(self, how=signal.SIGTERM):
        """Ends it, and waits until it has."""
        self.child.send_signal(how)
        self.child.wait(DEADLINE)

    def __exit__(self, kind, *_):
        if kind is not None and kind is not KeyboardInterrupt:
            explain()
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()


def explain():
    """What may explain a failure."""
    print(ctl("ps", "--all", check=False) or ctl("ps", check=False))
    print("\n".join(json.dumps(one) for one in events()[-25:]))
    print("\n".join(open("/tmp/daemon.stderr").read().splitlines()[-15:]), flush=True)


def fail(why):
    print(f"FAILED: {why}", flush=True)
    raise SystemExit(1)


def check(holds, what):
    if not holds:
        fail(what)


def main(prepare, trial):
    """`prepare` has the network of the machine, `trial` none but its own loopback."""
    {"prepare": prepare, "try": trial}[sys.argv[1]]()
