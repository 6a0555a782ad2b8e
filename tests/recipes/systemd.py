"""docs/recipes/systemd.md: programs that speak systemd's protocols, unchanged: ready, watched, reloaded, on sockets that they did not open."""

import os
import signal
import socket
import urllib.request

from recipe import Daemon, Page, check, ctl, events, main, ps, ready, wait


def prepare():
    pass


def echo(text):
    with socket.create_connection(("127.0.0.1", 8091), timeout=60) as stream:
        stream.sendall(text)
        return stream.recv(4096)


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        return answer.read().decode()


def owner(pid):
    return os.stat(f"/proc/{pid}").st_uid


def of(unit, reason):
    return [one for one in events() if one["name"] == unit and one["reason"] == reason]


def watched():
    """Our own: it says what it does, and when it hangs it is replaced while those who connect wait."""
    [one] = ready("echo", 1)
    check(one["says"] == "waiting for the first", f"says {one.get('says')}")
    check(owner(one["pid"]) != 0, "runs as root")
    check(echo(b"a\n") == b"a\n", "no echo")
    wait("its status is shown", lambda: ps("echo")[0]["says"] == "served 1")
    for number in range(3):
        before = ps("echo")[0]
        with socket.create_connection(("127.0.0.1", 8091), timeout=60) as hanging:
            hanging.sendall(b"hang\n")
            # It hangs; this one waits in the socket until its successor serves it.
            check(echo(b"b\n") == b"b\n", "no echo after it hung")
        now = wait("it is another process", lambda: [o for o in ps("echo") if o["ready"] and o["pid"] != before["pid"]])[0]
        check(now["name"] == before["name"] and now["restarts"] == before["restarts"] + 1, f"{before} became {now}")
    told = [one for one in of("echo", "ProbeFailed") if "watchdog" in one["message"].lower()]
    check(len(told) == 3, f"3 hangs, but {of('echo', 'ProbeFailed')}")
    print(f"echo: 3 hangs, 3 times replaced, nobody refused; \"{told[-1]['message']}\"")


def reloaded():
    """haproxy: ready by READY=1, another configuration by a reload, the same master."""
    [one] = ready("haproxy", 1)
    check(owner(one["pid"]) != 0, "runs as root")
    check(get(8092) == "one", "no answer")
    path = "/srv/haproxy/haproxy.cfg"
    with open(path) as file:
        text = file.read()
    for word in ("two", "three"):
        with open(path, "w") as file:
            file.write(text.replace('"one"', f'"{word}"'))
        ctl("reload", "haproxy")
        wait(f"it answers {word}", lambda: get(8092) == word)
    [now] = ready("haproxy", 1)
    check((now["pid"], now["restarts"]) == (one["pid"], 0), "the master is another")
    with open(path, "w") as file:
        file.write("nonsense\n")
    ctl("reload", "haproxy")
    wait("the refusal is told", lambda: "nonsense" in ctl("logs", "haproxy"))
    check(get(8092) == "three", "a bad configuration took it down")
    with open(path, "w") as file:
        file.write(text)
    os.kill(one["pid"], signal.SIGKILL)
    wait("it is back after kill -9", lambda: [o for o in ps("haproxy") if o["ready"] and o["pid"] != one["pid"]])
    check(get(8092) == "one", "no answer after a kill")
    print("haproxy -Ws: ready by its own word, 2 reloads with the same master, 1 refused, back after kill -9")


def shared():
    """lighttpd: two on one socket, each restarted."""
    for one in ready("lighttpd", 2):
        check(owner(one["pid"]) != 0, "runs as root")
        check(get(8093).endswith("hello\n"), "no page")
        ctl("restart", one["name"])
        wait("it is back", lambda: [o for o in ps("lighttpd") if o["name"] == one["name"] and o["ready"] and o["pid"] != one["pid"]])
        check(get(8093).endswith("hello\n"), "no page")
    print("lighttpd: 2 on one socket by LISTEN_FDS, each restarted")


def trial():
    page = Page("systemd")
    page.write()
    with Daemon():
        page.run("wsup ctl apply")
        watched()
        reloaded()
        shared()
        stopped = [one["pid"] for unit in ("echo", "haproxy", "lighttpd") for one in ps(unit)]
        ctl("stop", "--all")
        wait("all is stopped", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in stopped))
        killed = [one for one in events() if one["reason"] == "InstanceKilled"]
        check(not killed, f"killed at the end: {killed}")
        print("stopped, none by SIGKILL")


main(prepare, trial)
