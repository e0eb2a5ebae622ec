"""The NVA as a real machine: Debian with systemd as PID 1, `make install` on it, in the lab's network namespace.

The root is made once by debootstrap and kept in /var/cache/aksegressd-tests; a machine boots from an overlay above it in
memory (systemd-nspawn), so nothing that a test does stays. It runs in control groups of its own, so that several can run
beside each other.
"""

import atexit
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from daemon import BUILD, ROOT, configuration
from lab import Process, alive, wait_for

CACHE = pathlib.Path("/var/cache/aksegressd-tests")
UNIT = "aksegressd.service"
CONNECTION_RECORD = "a254a7c35b9c43a1aa7a5711426403d0"  # as docs/decision-log.md and scripts have it
RECORDS = "/var/log/aksegressd/decisions.json"
SYSCTL_FILE = ROOT / "conf/sysctl.d/60-aksegressd.conf"
# The unit needs kill(1); nftables brings the service that flushes everyone's rules. Libraries are added to these.
# rsyslog is for the shipped snippets, and not started by the boot.
PACKAGES = ["systemd", "systemd-sysv", "procps", "logrotate", "nftables", "rsyslog", "rsyslog-openssl"]
# Of messages from one unit in 30 s; journald takes up to six times as many if there is room. The default is 10,000.
JOURNAL_BURST = 1000
# Ubuntu has libfyaml in universe.
COMPONENTS = "main,universe" if "ID=ubuntu\n" in pathlib.Path("/etc/os-release").read_text() else "main"
GROUP_NAME = re.compile(r"^aed-(\d+)-boot$")


def sanitized():
    """Whether the programs need a sanitizer's run time, which is not part of the installed machine."""
    return re.search(b"__[at]san_init", (BUILD / "aksegressd").read_bytes()) is not None


def machine_configuration(lab):
    """The lab's clusters with what an installation has: its own allowlists, journal and file, no changed paths."""
    config = configuration(lab)
    del config["allowlist_dirs"]
    config["drain"] = "10s"
    config["logging"] = [{"sink": "journal", "events": ["deny", "allow"]},
                         {"sink": "file", "path": RECORDS, "format": "json", "events": ["deny", "allow"]}]
    return config


def release():
    """What this machine runs, like bookworm: the program is linked with its libraries, so the root has to be of it too."""
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise RuntimeError("/etc/os-release names no VERSION_CODENAME")


def library_packages():
    """The packages of the libraries that the programs are linked with; what those need, debootstrap finds."""
    needed = set()
    for program in ("aksegressd", "aksegressctl"):
        dynamic = subprocess.run(["readelf", "-d", BUILD / program], capture_output=True, text=True, check=True).stdout
        needed.update(re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic))
    owners = subprocess.run(["dpkg", "-S", *(f"*/{name}" for name in sorted(needed))], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"^(lib[^:, ]+):\S* \S*/lib/", owners, re.M)))


def base_root():
    """The directory of a root that no test ever writes to; made now if there is none yet for these packages."""
    packages = PACKAGES + library_packages()
    name = f"{release()}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / name).exists():
            make_base_root(CACHE / name, packages)
    return CACHE / name


def make_base_root(root, packages):
    """debootstrap in memory (dpkg syncs after every file), then a copy under another name, then the name."""
    log = CACHE / f"{root.name}.log"
    unfinished = CACHE / f"{root.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="aed-root-") as memory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", memory], check=True)
        try:
            with open(log, "wb") as stream:
                done = subprocess.run(["debootstrap", "--variant=minbase", f"--components={COMPONENTS}", f"--include={','.join(packages)}",
                                       release(), f"{memory}/root"],
                                      stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"debootstrap failed:\n{log.read_text(errors='replace')[-4000:]}")
            shutil.rmtree(f"{memory}/root/var/cache/apt/archives", ignore_errors=True)
            subprocess.run(["cp", "-a", f"{memory}/root", unfinished], check=True)
        finally:
            subprocess.run(["umount", "-l", memory], check=True)
    unfinished.rename(root)


def group_hierarchies():
    """Where the control group trees are mounted that systemd uses: one, or two on hosts with the old layout."""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, _, path = before.split()[:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.setdefault(device, pathlib.Path(path))  # the same tree may be mounted twice
    return list(found.values())


def remove_group(group):
    """Ends what is left in a control group, and removes it with everything below; some of that may go away by itself meanwhile."""
    passing = (errno.EBUSY,  # a process that ended a moment ago may still count
               errno.ENOENT, errno.ENODEV, errno.ESRCH)

    def removed():
        try:
            for directory, _, _ in os.walk(group, topdown=False):
                for pid in pathlib.Path(directory, "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                os.rmdir(directory)
        except OSError as error:
            if error.errno not in passing:
                raise
        return not group.exists()

    wait_for(removed, f"end of the processes in {group}", 60)


def remove_dead_groups():
    """Removes the control groups of test runs whose process is gone."""
    for hierarchy in group_hierarchies():
        for group in hierarchy.glob("aed-*-boot"):
            match = GROUP_NAME.match(group.name)
            if match and not alive(match[1]):
                remove_group(group)


def shipped_sysctls():
    """The settings that are installed: {"net.ipv4.ip_forward": "1", …}."""
    pairs = re.findall(r"^(net\.\S+) *= *(.*)$", SYSCTL_FILE.read_text(), re.M)
    return {key: value.strip() for key, value in pairs}


class Machine:
    """A booted NVA with aksegressd installed and enabled."""

    def __init__(self, lab):
        self.lab = lab
        self.config = machine_configuration(lab)
        self.directory = lab.directory / "boot"
        self.root = self.directory / "root"
        self.groups = [hierarchy / f"aed-{os.getpid()}-boot" for hierarchy in group_hierarchies()]
        self.nspawn = None
        self.pid = None  # of the machine's PID 1
        self.former_sysctls = {}
        self.log_read = 0
        self.entries = []

    def __enter__(self):
        atexit.register(self.close)
        remove_dead_groups()
        try:
            self._mount(base_root())
            self._install()
            self._keep_sysctls()
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _mount(self, base):
        memory = self.lab.mount_tmpfs("boot", "1g")
        for name in ("changes", "work", "root"):
            (memory / name).mkdir()
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={base},upperdir={memory}/changes,workdir={memory}/work", self.root], check=True)

    def _install(self):
        subprocess.run(["make", "-s", "--no-print-directory", "install", f"DESTDIR={self.root}"], cwd=ROOT, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, "MAKEFLAGS": "", "BUILD": BUILD.name})
        self.write_config()
        limit = self.path("/etc/systemd/journald.conf.d/test.conf")
        limit.parent.mkdir()
        limit.write_text(f"[Journal]\nRateLimitBurst={JOURNAL_BURST}\n")
        for change in (("enable", UNIT), ("disable", "rsyslog.service")):
            subprocess.run(["systemctl", f"--root={self.root}", *change], check=True, capture_output=True)

    def _keep_sysctls(self):
        """The machine's boot changes the namespace that other tests use too."""
        for key in shipped_sysctls():
            path = pathlib.Path("/proc/sys", key.replace(".", "/"))
            with self.lab.nva.entered(), contextlib.suppress(OSError):
                self.former_sysctls[path] = path.read_text()
        self.lab.nva.sysctl(net__ipv4__ip_forward=0, net__ipv6__conf__all__forwarding=0)

    def _boot(self):
        script = "".join(f"echo $$ >{group}/cgroup.procs && " for group in self.groups) + 'exec "$@"'
        for group in self.groups:
            group.mkdir()
        argv = ["systemd-nspawn", "--quiet", f"--directory={self.root}", f"--network-namespace-path=/run/netns/{self.lab.nva.name}",
                "--capability=CAP_NET_ADMIN", "--console=read-only", "--register=no", "--keep-unit", "--boot"]
        self.nspawn = Process(["sh", "-c", script, "sh", *argv], self.lab.directory / "boot.log",
                              env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"})
        self.lab.processes.append(self.nspawn)
        self.pid = wait_for(self._find_init, "PID 1 of the machine", 20)
        wait_for(lambda: self.state() in ("running", "degraded"), "machine that has booted", 60)
        self.journal_file = self.lab.directory / "journal.json"
        self.journal_file.unlink(missing_ok=True)  # of an earlier machine
        self.lab.processes.append(Process(self.command("journalctl", "--follow", "--lines=all", "--output=json"), self.journal_file))

    def _find_init(self):
        if not self.nspawn.running():
            raise RuntimeError(f"systemd-nspawn ended:\n{self.nspawn.output()}")
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        with contextlib.suppress(FileNotFoundError):
            return next((pid for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n"), None)
        return None

    def command(self, *argv):
        return ["nsenter", f"--target={self.pid}", "--all", "--root", *map(str, argv)]

    def run(self, *argv, check=True, timeout=30):
        """Runs a program inside to its end and returns it with its output as text."""
        done = subprocess.run(self.command(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout)
        assert not check or done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}{self.log_tail()}"
        return done

    def state(self):
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def path(self, inside):
        """A path of the machine as the test sees it."""
        return self.root / str(inside).lstrip("/")

    def records(self, *paths):
        """The JSON records of files inside."""
        return [json.loads(line) for path in paths for line in self.path(path).read_text().splitlines()]

    def write_config(self, text=None):
        """Writes self.config, or a text, as the configuration; returns its path inside."""
        path = "/etc/aksegressd/aksegressd.yaml"
        self.path(path).write_text(json.dumps(self.config, indent=2) + "\n" if text is None else text)  # JSON is YAML
        return path

    def reset(self):
        """The running service with the usual configuration, whatever a test has done."""
        self.config = machine_configuration(self.lab)
        self.write_config()
        self.drop_in("")
        self.systemctl("reset-failed")
        self.systemctl("restart", UNIT)

    def drop_in(self, text):
        """Changes the unit by a drop-in of its own, as an operator would; '' takes it away again."""
        path = self.path(f"/etc/systemd/system/{UNIT}.d/test.conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments, check=True, timeout=60):
        return self.run("systemctl", *arguments, check=check, timeout=timeout)

    def show(self, *names):
        """Properties of the unit, as a list in this order; one alone as it is."""
        output = self.systemctl("show", UNIT, f"--property={','.join(names)}").stdout
        values = dict(line.split("=", 1) for line in output.splitlines())
        return values[names[0]] if len(names) == 1 else [values[name] for name in names]

    def wait_unit(self, state, timeout=20):
        """Waits for the unit's ActiveState."""
        try:
            wait_for(lambda: self.show("ActiveState") == state, state, timeout)
        except TimeoutError:
            raise AssertionError(f"the unit is not {state} within {timeout} s:\n{self.log_tail()}") from None

    def journal(self, **fields):
        """Every entry of the journal so far with these fields, in order."""
        with open(self.journal_file, "rb") as stream:
            stream.seek(self.log_read)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self.log_read += len(line)
                self.entries.append(json.loads(line))
        return [entry for entry in self.entries if all(entry.get(name) == value for name, value in fields.items())]

    def mark(self):
        """For messages(): what is in the journal now."""
        return len(self.journal())

    def messages(self, mark=0, unit=UNIT):
        """What a unit's processes, and systemd about it, have said since mark."""
        self.journal()
        return [str(entry.get("MESSAGE")) for entry in self.entries[mark:] if unit in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT"))]

    def wait_message(self, text, mark=0, timeout=20):
        """Waits for a message that has this text and returns it."""
        def found():
            return next((message for message in self.messages(mark) if text in message), None)
        try:
            return wait_for(found, text, timeout)
        except TimeoutError:
            raise AssertionError(f"within {timeout} s the journal has no '{text}':\n" + "\n".join(self.messages(mark))) from None

    def wait_entry(self, timeout=10, **fields):
        """Waits for an entry with these fields and returns the first."""
        try:
            return wait_for(lambda: self.journal(**fields), "entry", timeout)[0]
        except TimeoutError:
            raise AssertionError(f"within {timeout} s the journal has no {fields}:\n{self.log_tail()}") from None

    def log_tail(self):
        """For a failed assertion: what happened last, as a person would look."""
        done = subprocess.run(self.command("journalctl", "--no-pager", "--lines=40"), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        return done.stdout + done.stderr

    def close(self):
        """Takes the plug out, then removes the machine and what it left in the namespace, whatever fails. May be called twice."""
        atexit.unregister(self.close)
        with contextlib.ExitStack() as steps:  # the last one first
            steps.callback(self._restore_sysctls)
            steps.callback(self.lab.nva.run, "nft", "delete", "table", "inet", "aksegressd")
            steps.callback(self._unmount)
            for group in self.groups:
                steps.callback(remove_group, group)
            if self.nspawn is not None:
                steps.callback(self.nspawn.stop, signal.SIGKILL)

    def _unmount(self):
        for path in (self.root, self.directory):
            if os.path.ismount(path):
                subprocess.run(["umount", "-l", path], check=False)
        if self.directory in self.lab.mounts:
            self.lab.mounts.remove(self.directory)
            self.directory.rmdir()

    def _restore_sysctls(self):
        for path, value in self.former_sysctls.items():
            with self.lab.nva.entered(), contextlib.suppress(OSError):
                path.write_text(value)
        self.former_sysctls.clear()
