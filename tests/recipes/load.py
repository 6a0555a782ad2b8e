"""Requests without end, each counted: answered as expected, or failed and why.

Two generators at once. `wrk` for pressure; it counts refused and broken connections and odd statuses, but says nothing of a
request that is never answered. So beside it clients of our own, which count every request that they have sent: anything but a whole answer
of status 200 within the time limit is a failure, a reset or an end of a kept connection included. Nothing is tried again.
"""

import collections
import datetime
import http.client
import re
import signal
import subprocess
import tempfile
import threading

# A whole answer has to be there after so long.
TIMEOUT = 30
# So many failures are told one by one, with their times.
TOLD = 10


class Load:
    def __init__(self, host, port, path="/", clients=4, keep_alive=False, wrk=8):
        self.host, self.port, self.path, self.keep_alive = host, port, path, keep_alive
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.sent = self.ok = 0
        self.failures, self.answers = collections.Counter(), collections.Counter()
        self.threads = [threading.Thread(target=self.client) for _ in range(clients)]
        self.out = tempfile.TemporaryFile("w+")
        header = [] if keep_alive else ["-H", "Connection: close"]
        self.wrk = wrk and subprocess.Popen(
            ["wrk", "-t1", f"-c{wrk}", "-d1h", f"--timeout={TIMEOUT}s", *header, f"http://{host}:{port}{path}"],
            stdout=self.out, stderr=subprocess.STDOUT)
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Whatever happens: nothing of it goes on."""
        self.stop.set()
        if self.wrk:
            self.wrk.kill()

    def client(self):
        connection = None
        while not self.stop.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
                headers = {} if self.keep_alive else {"Connection": "close"}
                connection.request("GET", self.path, headers=headers)
                response = connection.getresponse()
                body = response.read().decode()
                outcome = None if response.status == 200 else f"status {response.status}"
                kept = self.keep_alive and not response.will_close
            except (OSError, http.client.HTTPException) as error:
                outcome, kept, body = f"{type(error).__name__}: {error}", False, ""
            if not kept and connection is not None:
                connection.close()
                connection = None
            with self.lock:
                self.sent += 1
                if outcome:
                    self.failures[outcome] += 1
                    if sum(self.failures.values()) <= TOLD:
                        print(f"{datetime.datetime.utcnow().isoformat()}Z request {self.sent}: {outcome}", flush=True)
                else:
                    self.ok += 1
                    self.answers[body] += 1

    def more(self, count=20):
        """Whether so many more have been answered, as a condition to wait for."""
        until = self.ok + count
        return lambda: self.ok >= until

    def end(self):
        """Ends it; prints the counts; how many failed of all."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        failed = sum(self.failures.values())
        print(f"clients: {self.sent} sent, {self.ok} answered, {failed} failed {dict(self.failures) or ''}")
        sent = self.sent
        if self.wrk:
            self.wrk.send_signal(signal.SIGINT)
            self.wrk.wait(TIMEOUT * 2)
            self.out.seek(0)
            text = self.out.read()
            done = re.search(r"(\d+) requests in", text)
            if not done:
                print(text)
                return sent, failed + 1
            socket = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
            status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
            errors = [int(n) for n in socket.groups()] if socket else [0, 0, 0, 0]
            errors.append(int(status.group(1)) if status else 0)
            names = ["connect", "read", "write", "timeout", "status"]
            print(f"wrk:     {done.group(1)} answered, {sum(errors)} failed", dict(zip(names, errors)))
            sent, failed = sent + int(done.group(1)), failed + sum(errors)
        print(f"all:     {sent} requests, {failed} failed", flush=True)
        return sent, failed
