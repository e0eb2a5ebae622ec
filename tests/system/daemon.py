"""The daemon under test, in the lab's NVA namespace: its configuration, its life, its records."""

import contextlib
import copy
import json
import os
import pathlib
import resource
import signal
import socket

from lab import POOL_V4, POOL_V6, Process, wait_for
from origins import DNS_ADDRESS

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
PROXY = ("198.18.1.1", 3128)
MAX_PIPES = 2 * 2 * 64 + 16  # descriptors of two workers' pooled pipes, and a few of event loops
SANITIZER_WORDS = ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "LeakSanitizer")


def configuration(lab):
    """What a test starts from; every value may be changed."""
    return {
        "workers": 2,
        "listen": {"transparent": {"port": 15001}, "proxy": {"address": PROXY[0], "port": PROXY[1]}},
        "allowlist_dirs": [str(ROOT / "allowlists")],
        "snat_pools": [{"name": "main", "addresses": [f"{POOL_V4[0]}-{POOL_V4[-1]}", f"{POOL_V6[0]}-{POOL_V6[-1]}"],
                        "selection": "sticky"}],
        "clusters": [{
            "name": "prod-weu",
            "sources": ["198.18.1.0/24", "2001:db8:1::/64"],
            "cloud": "AzurePublicCloud",
            "location": "westeurope",
            "features": ["ubuntu-updates"],
            "api_server": "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io",
            "snat_pool": "main",
            "allow": ["https *.allowed.example:443,8443", "http *.allowed.example:80,8080"],
            "deny": ["https forbidden.allowed.example:443", "http forbidden.allowed.example:80"],
        }],
        "resolver": {"servers": [DNS_ADDRESS]},
        "timeouts": {"inspect": "10s", "resolve": "2s", "connect": "4s", "idle": "30m"},
        "drain": "2s",
        "logging": [{"sink": "file", "path": str(lab.directory / "decisions.json"), "format": "json",
                     "events": ["deny", "allow"], "summarize": "off"}],
    }


class Daemon:
    """A running aksegressd. Every record that a test expected is checked again after the end: exactly one."""

    started = 0

    def __init__(self, lab, config=None, prefix=(), environment=None, program=BUILD / "aksegressd"):
        Daemon.started += 1
        self.lab = lab
        self.config = copy.deepcopy(config or configuration(lab))
        self.prefix = [str(item) for item in prefix]          # inside the namespace, before the program
        self.environment = environment or {}
        self.program = program
        self.path = lab.directory / f"aksegressd-{Daemon.started}.yaml"
        self.log_path = lab.directory / f"aksegressd-{Daemon.started}.log"
        self.records_path = pathlib.Path(self.config["logging"][0].get("path", "/nonexistent"))
        self.expected = []
        self.expected_count = None  # of all records, alarms aside
        self.baseline = None  # descriptors when it was ready; None: it never was
        self.finished = False
        self.process = None
        self.notifications = ""

    def write_config(self):
        self.path.write_text(json.dumps(self.config, indent=2) + "\n")  # JSON is YAML

    def start(self, wait=True):
        """Starts it and waits for READY=1, as systemd would."""
        self.write_config()
        if self.lab.directory in self.records_path.parents:
            self.records_path.unlink(missing_ok=True)
        notify = self.lab.directory / f"notify-{Daemon.started}"
        with contextlib.suppress(FileNotFoundError):
            notify.unlink()
        self.notify_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify_socket.setblocking(False)
        self.notify_socket.bind(str(notify))
        notify.chmod(0o777)
        argv = self.lab.nva.command(*self.prefix, self.program, "--config", self.path)
        self.process = Process(argv, self.log_path, keep=self.lab.keep,
                               env={**os.environ, "NOTIFY_SOCKET": str(notify), **self.environment})
        self.lab.processes.append(self.process)
        if wait:
            self.wait_ready()
            self.baseline = sum(not what.startswith("pipe:") and "spool" not in what for what in self.descriptors().values())
        return self

    def notified(self, word):
        """Whether the daemon has sent this line to the service manager since the last time it was asked for."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notifications += self.notify_socket.recv(4096).decode() + "\n"
        if word not in self.notifications.split("\n"):
            return False
        self.notifications = ""
        return True

    def wait_ready(self, timeout=20):
        def ready():
            if not self.process.running():
                held = self.lab.nva.run("ss", "-Htlnp").stdout if "already in use" in self.process.output() else ""
                raise RuntimeError(f"aksegressd ended with {self.process.popen.returncode}:\n{self.process.output()}{held}")
            return self.notified("READY=1")
        wait_for(ready, "READY=1 of aksegressd", timeout)

    def descriptors(self):
        """What its descriptors stand for, by number."""
        directory = pathlib.Path(f"/proc/{self.process.pid}/fd")
        found = {}
        for path in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[int(path.name)] = os.readlink(path)
        return found

    def use_up_descriptors(self):
        """Lowers its soft limit of descriptors to what is open: it gets no more. What is open for a moment does not count: after a
        start the daemon looks at its table a few times."""
        seen = []

        def stays():
            seen.append(set(self.descriptors()))
            return len(seen) >= 30 and all(held == seen[-1] for held in seen[-30:])
        wait_for(stays, "descriptors that stay")
        self.old_limit = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (max(seen[-1]) + 1, self.old_limit[1]))

    def restore_descriptors(self):
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, self.old_limit)

    def log(self):
        return self.process.output()

    def wait_log(self, text, timeout=10):
        """Waits for a text in its own log and returns the whole log."""
        wait_for(lambda: text in self.log(), f"'{text}' in the log of aksegressd:\n{self.log()}", timeout)
        return self.log()

    def send(self, number):
        os.kill(self.process.pid, number)

    def reload(self, timeout=10):
        """Writes self.config and has it read; waits until the daemon says that it is done, whatever came of it."""
        self.write_config()
        self.notified("READY=1")
        self.send(signal.SIGHUP)
        wait_for(lambda: self.notified("READY=1"), "READY=1 after SIGHUP", timeout)

    def records(self):
        """Every record so far, in order."""
        if not self.records_path.exists():
            return []
        text = self.records_path.read_text(errors="strict")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def matching(self, **fields):
        return [record for record in self.records() if all(record.get(name) == value for name, value in fields.items())]

    def wait_record(self, timeout=10, **fields):
        """Waits for a record with these fields and returns the first."""
        try:
            return wait_for(lambda: self.matching(**fields), "record", timeout)[0]
        except TimeoutError:
            raise AssertionError(f"no record with {fields} among {json.dumps(self.records(), indent=1)}\n{self.log()}") from None

    def expect_one_record(self, timeout=10, **fields):
        """Waits for the record and returns it; that it stays the only such one is checked when the daemon has ended."""
        record = self.wait_record(timeout, **fields)
        assert len(self.matching(**fields)) == 1, f"more than one record with {fields}: {self.matching(**fields)}"
        self.expected.append(fields)
        return record

    def check_descriptors(self, timeout=10):
        """After all connections are gone it holds no more descriptors than when it was ready, but for pooled pipes, spools, and a
        socket for each sink that is a syslog server."""
        streams = sum(sink.get("transport") in ("tls", "tcp", "udp") for sink in self.config["logging"])

        def held():
            return [what for what in self.descriptors().values() if not what.startswith("pipe:") and "spool" not in what]

        def pipes():
            return sum(what.startswith("pipe:") for what in self.descriptors().values())

        try:
            wait_for(lambda: len(held()) <= self.baseline + streams, "fall", timeout)
        except TimeoutError:
            raise AssertionError(f"{self.baseline} descriptors at the start, now {held()}") from None
        assert pipes() <= MAX_PIPES

    def stop(self, number=signal.SIGTERM, timeout=20):
        """Ends it; returns its exit status."""
        status = self.process.stop(number, timeout)
        self.notify_socket.close()
        if self.process in self.lab.processes:
            self.lab.processes.remove(self.process)
        return status

    def kill(self):
        """Ends what a failed test left running."""
        if self.process is not None and self.process.running():
            self.stop(signal.SIGKILL)

    def check_and_stop(self):
        """What has to hold after every test."""
        self.finished = True
        assert self.process.running(), f"aksegressd ended with {self.process.popen.returncode}:\n{self.log()}"
        self.check_descriptors()
        status = self.stop()
        self.check_ended(status)

    def finish(self, timeout=20):
        """After a signal that ends it: waits for that, and checks."""
        status = self.process.popen.wait(timeout)
        self.stop()
        self.finished = True
        self.check_ended(status)

    def check_ended(self, status=0):
        assert status == 0, f"exit status {status}:\n{self.log()}"
        log = self.log()
        assert not any(word in log for word in SANITIZER_WORDS), log
        for fields in self.expected:
            assert len(self.matching(**fields)) == 1, f"more than one record with {fields}: {self.matching(**fields)}"
        if self.expected_count is not None:
            records = [record for record in self.records() if record["event"] != "alarm"]
            assert len(records) == self.expected_count, f"{self.expected_count} records expected: {json.dumps(records, indent=1)}"
        numbers = [record["seq"] for record in self.records()]
        assert numbers == sorted(set(numbers)), f"sequence numbers repeat or go back: {numbers}"
