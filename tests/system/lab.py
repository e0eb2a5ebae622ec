"""A network in namespaces: clients (spoke, dev, stranger), the NVA with a SNAT pool, and an internet with real servers.

    spoke    198.18.1.10/24 ──┐                  ┌── 198.18.2.254   internet
    stranger 198.18.3.10/24 ──┤ nva              │   203.0.113.0/24 and 2001:db8:f::/64 are all local there
    dev      198.18.4.10/24 ──┘ 198.18.N.1   198.18.2.1, pool 198.18.2.10-15 and 2001:db8:2::10-15

Every name starts with aed-PID, so that several labs can run beside each other and the leftovers of a dead run can be told
apart: `lab.py clean` removes those. Names are in hosts files in place of the VNET's DNS, so every DNS packet that the
internet sees is the daemon's.
"""

import atexit
import contextlib
import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import origins

NAME = re.compile(r"^aed-(\d+)(-|$)")
POOL_V4 = [f"198.18.2.{n}" for n in range(10, 16)]
POOL_V6 = [f"2001:db8:2::{n}" for n in range(10, 16)]
CLIENTS = {"spoke": 1, "stranger": 3, "dev": 4}
KEPT = "kept"  # a file in the directory of a lab that is to stay
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def wait_for(condition, what, timeout=10.0):
    """Asks condition() again and again until it is true or the deadline passes; returns its answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout} s there is still no {what}")
        select.select([], [], [], 0.01)


def die_with_parent():
    """In a child: let it end when this process dies without cleaning up."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A program started in a namespace, ended by its process id."""

    def __init__(self, argv, log, keep=False, stdin=subprocess.DEVNULL, **options):
        self.log = log
        with open(log, "ab") as stream:
            self.begin = stream.tell()
            self.popen = subprocess.Popen(argv, stdin=stdin, stdout=stream, stderr=stream,
                                          start_new_session=True,
                                          preexec_fn=None if keep else die_with_parent, **options)
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def stop(self, number=signal.SIGTERM, timeout=10):
        """Ends it and returns its exit status; what does not end in time is killed."""
        if self.running():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def output(self):
        """What it has written, without what an earlier one of the same name did."""
        return pathlib.Path(self.log).read_bytes()[self.begin:].decode(errors="replace")


class Namespace:
    """One network namespace of the lab."""

    def __init__(self, lab, role):
        self.lab = lab
        self.role = role
        self.name = f"aed-{os.getpid()}-{role}"
        self.etc = pathlib.Path("/etc/netns") / self.name

    def create(self, hosts):
        self.etc.mkdir(parents=True, exist_ok=True)
        (self.etc / "hosts").write_text(hosts)
        (self.etc / "resolv.conf").write_text("# no DNS: names are in the hosts file\nnameserver 127.0.0.1\n"
                                              "options timeout:1 attempts:1\n")
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.batch("link set lo up")

    def batch(self, text, ip_options=()):
        """Runs ip(8) commands, one a line."""
        subprocess.run(["ip", *ip_options, "-n", self.name, "-batch", "-"], input=text.strip() + "\n", text=True, check=True)

    def command(self, *argv):
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def run(self, *argv, check=False, timeout=30, env=None, **options):
        """Runs a program to its end and returns it with its output as text."""
        environment = {**os.environ, **self.lab.client_environment, **(env or {})}
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(self.command(*argv), capture_output=True, text=True, errors="replace", check=check,
                              timeout=timeout, env=environment, preexec_fn=die_with_parent, **options)

    def start(self, label, *argv, **options):
        return self.lab.start(label, self.command(*argv), **options)

    def sysctl(self, **values):
        """sysctl(net_ipv4_ip_forward=1): underscores that are dots in the key are written as two."""
        with self.entered():
            for key, value in values.items():
                pathlib.Path("/proc/sys", *key.split("__")).write_text(str(value))

    def nft(self, text):
        subprocess.run(self.command("nft", "-f", "-"), input=text, text=True, check=True)

    @contextlib.contextmanager
    def entered(self):
        """Sockets that this thread makes inside the block belong to the namespace (setns(2))."""
        with open("/proc/thread-self/ns/net") as back, open(f"/run/netns/{self.name}") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield self
            finally:
                if libc.setns(back.fileno(), CLONE_NEWNET) != 0:
                    os._exit(70)  # nothing after this could be trusted

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        with self.entered():
            return socket.socket(family, kind)

    def connect(self, address, port, source=None, timeout=10):
        """A TCP connection from this namespace."""
        connection = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        connection.settimeout(timeout)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection

    def listen(self, address, port, backlog=128):
        """A listening TCP socket in this namespace."""
        listener = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        return listener

    def listens(self, address, port):
        """Whether something accepts connections there."""
        try:
            self.connect(address, port, timeout=1).close()
        except OSError:
            return False
        return True

    def remove(self):
        remove_namespace(self.name)


class Lab:
    """Builds everything on entering, removes everything on leaving."""

    def __init__(self, keep=False):
        self.keep = keep
        self.directory = pathlib.Path(tempfile.gettempdir()) / f"aed-{os.getpid()}"
        self.processes = []
        self.mounts = []
        self.client_environment = {}
        self.namespaces = {role: Namespace(self, role) for role in ("nva", "internet", *CLIENTS)}
        self.nva = self.namespaces["nva"]
        self.internet = self.namespaces["internet"]
        self.spoke = self.namespaces["spoke"]
        self.stranger = self.namespaces["stranger"]
        self.dev = self.namespaces["dev"]
        self.zone = origins.Zone()

    def __enter__(self):
        if os.geteuid() != 0:
            raise PermissionError("the lab makes network namespaces: run it as root")
        atexit.register(self.close)
        clean_dead(kept_too=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        try:
            for namespace in self.namespaces.values():
                namespace.create(self.zone.hosts())
            self._connect()
            self._count()
            self.origins = origins.Origins(self)
            self.origins.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _connect(self):
        for role, number in CLIENTS.items():
            self.nva.batch(f"""
link add {role}0 type veth peer name eth0 netns {self.namespaces[role].name}
link set {role}0 up
address add 198.18.{number}.1/24 dev {role}0
address add 2001:db8:{number}::1/64 dev {role}0 nodad""")
            self.namespaces[role].batch(f"""
link set eth0 up
address add 198.18.{number}.10/24 dev eth0
address add 198.18.{number}.11/24 dev eth0
address add 198.18.{number}.12/24 dev eth0
address add 2001:db8:{number}::10/64 dev eth0 nodad
route add default via 198.18.{number}.1 src 198.18.{number}.10
route add default via 2001:db8:{number}::1""")
        self.nva.batch(f"link add internet0 type veth peer name eth0 netns {self.internet.name}\n"
                       "link set internet0 up\n"
                       "address add 198.18.2.1/24 dev internet0\n"
                       "address add 2001:db8:2::1/64 dev internet0 nodad\n"
                       + "".join(f"address add {address}/24 dev internet0\n" for address in POOL_V4)
                       + "".join(f"address add {address}/64 dev internet0 nodad\n" for address in POOL_V6)
                       + "route add default via 198.18.2.254\n"
                       "route add default via 2001:db8:2::fe\n")
        self.internet.batch("""
link set eth0 up
address add 198.18.2.254/24 dev eth0
address add 2001:db8:2::fe/64 dev eth0 nodad
route add local 203.0.113.0/24 dev lo
route add local 2001:db8:f::/64 dev lo
route add default via 198.18.2.1
route add default via 2001:db8:2::1""")
        self.nva.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1, net__netfilter__nf_conntrack_acct=1,
                        net__netfilter__nf_conntrack_timestamp=1, net__netfilter__nf_conntrack_events=1,
                        net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)
        for name in ("icmp_msgs_per_sec", "icmp_msgs_burst"):
            with contextlib.suppress(FileNotFoundError):  # older kernels have these for all namespaces together
                self.nva.sysctl(**{f"net__ipv4__{name}": 100000})
        self.internet.sysctl(net__ipv6__ip_nonlocal_bind=1, net__ipv4__ip_nonlocal_bind=1)

    def _count(self):
        """In the internet: a counter for DNS queries, one for TCP connections, and sets of what never answers."""
        self.internet.nft("""
table inet lab {
        counter queries { }
        counter connections { }
        counter leaked { }
        set silent { type ipv4_addr; }
        set silent6 { type ipv6_addr; }
        chain input {
                type filter hook input priority 0;
                meta l4proto { tcp, udp } th dport 53 counter name queries
                tcp flags & (syn | ack) == syn counter name connections
                ip saddr { 198.18.1.0/24, 198.18.3.0/24, 198.18.4.0/24 } counter name leaked
                ip6 saddr { 2001:db8:1::/64, 2001:db8:3::/64, 2001:db8:4::/64 } counter name leaked
                ip daddr @silent drop
                ip6 daddr @silent6 drop
        }
}""")
        self.silence("203.0.113.250", "2001:db8:f::250")

    def counted(self, name):
        """Packets that the counter has seen since the lab began: queries (DNS), connections (TCP SYNs), leaked (a client's own address)."""
        listing = self.internet.run("nft", "-j", "list", "counter", "inet", "lab", name, check=True)
        return next(item["counter"]["packets"] for item in json.loads(listing.stdout)["nftables"] if "counter" in item)

    def _silent(self, verb, addresses):
        for address in addresses:
            name = "silent6" if ":" in address else "silent"
            self.internet.nft(f"{verb} element inet lab {name} {{ {address} }}\n")

    def silence(self, *addresses):
        """Packets to these addresses of the internet are dropped from now on."""
        self._silent("add", addresses)

    def unsilence(self, *addresses):
        self._silent("delete", addresses)

    @contextlib.contextmanager
    def silenced(self, *addresses):
        self.silence(*addresses)
        try:
            yield
        finally:
            self.unsilence(*addresses)

    def start(self, label, argv, ready=None, timeout=10, **options):
        """Starts a program that the lab ends; waits until ready() is true."""
        process = Process(argv, self.directory / f"{label}.log", keep=self.keep, **options)
        self.processes.append(process)
        if ready is not None:
            def answer():
                if not process.running():
                    raise RuntimeError(f"{label} ended at once:\n{process.output()[-4000:]}")
                return ready()
            wait_for(answer, f"answer of {label}", timeout)
        return process

    def mount_tmpfs(self, name, size):
        """A small file system, unmounted with the lab."""
        path = self.directory / name
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
        self.mounts.append(path)
        return path

    def close(self):
        """Ends every process, then removes namespaces, mounts and files. May be called twice."""
        atexit.unregister(self.close)
        if self.keep:
            (self.directory / KEPT).touch()
            return
        for process in reversed(self.processes):
            process.stop(timeout=5)
        self.processes.clear()
        for namespace in self.namespaces.values():
            namespace.remove()
        for path in self.mounts:
            subprocess.run(["umount", "-l", str(path)], check=False)
        self.mounts.clear()
        shutil.rmtree(self.directory, ignore_errors=True)


def remove_namespace(name):
    """Ends what still runs in a namespace of a lab, then removes it."""
    if not NAME.match(name):
        raise ValueError(f"{name} is no namespace of a lab")
    if (pathlib.Path("/run/netns") / name).exists():
        listing = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
        for pid in listing.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(pathlib.Path("/etc/netns") / name, ignore_errors=True)


def alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def clean_dead(pids=None, kept_too=True):
    """Removes what labs left behind whose process is gone (or, given pids, those); kept_too: also what KEEP=1 left on purpose."""
    def is_left(name):
        match = NAME.match(name)
        if not match or pids:
            return match and int(match[1]) in pids
        return not alive(match[1]) and (kept_too or f"aed-{match[1]}" not in kept)

    kept = {path.parent.name for path in pathlib.Path(tempfile.gettempdir()).glob(f"aed-*/{KEPT}")}

    left = []
    netns, etc = pathlib.Path("/run/netns"), pathlib.Path("/etc/netns")
    names = {path.name for directory in (netns, etc) if directory.is_dir() for path in directory.iterdir()}
    for name in sorted(filter(is_left, names)):
        remove_namespace(name)
        left.append(name)
    for path in pathlib.Path(tempfile.gettempdir()).glob("aed-*"):
        if not is_left(path.name):
            continue
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            mountpoint = line.split()[1]
            if mountpoint.startswith(f"{path}/"):
                subprocess.run(["umount", "-l", mountpoint], check=False)
        shutil.rmtree(path, ignore_errors=True)
        left.append(str(path))
    return left


def end_on_signals():
    """SIGTERM and SIGHUP end the program as Ctrl-C does, so that everything is removed."""
    def interrupt(number, _frame):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def main(arguments):
    if arguments[:1] != ["clean"]:
        print("usage: lab.py clean [PID…]    removes what labs left behind whose process is gone, or that of PID",
              file=sys.stderr)
        return 2
    for name in clean_dead({int(pid) for pid in arguments[1:]}):
        print(f"removed {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
