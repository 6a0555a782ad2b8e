"""Roll-outs and restarts under load, for the trials that count lost requests."""

import os
import re

from recipe import check, ctl, events, ps, ready, wait

ROLLOUTS = int(os.environ.get("ROLLOUTS", "20"))
RESTARTS = int(os.environ.get("RESTARTS", "50"))


def roll(unit, version):
    """Writes another version into the unit's file, applies it, and waits for the roll-out."""
    path = f"/etc/wsup/units/{unit}.toml"
    with open(path) as file:
        text = file.read()
    with open(f"{path}.new", "w") as new:
        new.write(re.sub(r'VERSION = "\d+"', f'VERSION = "{version}"', text))
    os.rename(f"{path}.new", path)
    ctl("apply")
    ctl("rollout", "status", f"deployment/{unit}", "--timeout", "120s")


def restart(unit, number):
    """Restarts one of its instances, and waits until it is ready again."""
    one = sorted(ps(unit), key=lambda one: one["name"])[number % 3]
    ctl("restart", one["name"])

    def back():
        now = [other for other in ps(unit) if other["name"] == one["name"]]
        return now and now[0]["ready"] and now[0]["pid"] != one["pid"]
    wait(f"{one['name']} is back", back)


def put_through(load, unit, tells, first):
    """All of it, while requests are answered; versions are counted from `first`. Gives how many were sent, and how many failed."""
    wait("requests are answered", load.more())
    for number in range(ROLLOUTS):
        roll(unit, first + number)
        wait("requests are answered", load.more())
    ready(unit, 3)
    for number in range(RESTARTS):
        restart(unit, number)
        wait("requests are answered", load.more())
    if tells:
        missing = [v for v in range(first, first + ROLLOUTS) if not load.answers[f"{v}\n"]]
        check(not missing, f"versions that never answered: {missing}")
    killed = [one["message"] for one in events() if one["reason"] == "InstanceKilled" and one["name"] == unit]
    check(not killed, f"{len(killed)} had to be killed: {killed[:3]}")
    print(f"{unit}, {'kept connections' if load.keep_alive else 'a connection for each request'}: "
          f"{ROLLOUTS} roll-outs, {RESTARTS} restarts")
    return load.end()
