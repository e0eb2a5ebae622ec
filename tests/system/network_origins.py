"""Servers that clients reach by network rules, forwarded by the kernel: UDP echo, NTP, git over SSH, and a DNS that changes."""

import pathlib
import re
import socket
import subprocess
import threading

ECHO = "203.0.113.222"
ECHO_V6 = "2001:db8:f::222"
OTHER_ECHO = "203.0.113.223"
CHANGING_DNS = "203.0.113.54"
IP_PKTINFO = 8  # linux/in.h; Python has no name for it before 3.14


class UdpEcho:
    """Sends back what it gets on a UDP port, and remembers from where it came."""

    def __init__(self, lab, address=ECHO, port=5000):
        self.socket = lab.internet.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.settimeout(0.1)
        self.peers = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(10)
        self.socket.close()

    def _serve(self):
        while not self.over.is_set():
            try:
                data, peer = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            self.peers.append(peer[:2])
            self.socket.sendto(data, peer)


class AnyUdpEcho:
    """Sends back what it gets on a UDP port of whichever address of the internet, both families."""

    def __init__(self, lab, port=5000):
        self.sockets = [lab.internet.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
        v4, v6 = self.sockets
        v4.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        v4.bind(("0.0.0.0", port))
        v6.bind(("::", port))
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._serve, args=[item], daemon=True) for item in self.sockets]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(10)
        for item in self.sockets:
            item.close()

    def _serve(self, served):
        """Answers leave with the address that was asked: it came as in_pktinfo or in6_pktinfo (ip(7), ipv6(7))."""
        served.settimeout(0.1)
        while not self.over.is_set():
            try:
                data, ancillary, _, peer = served.recvmsg(65536, 128)
            except TimeoutError:
                continue
            level, kind, information = ancillary[0]
            if level == socket.IPPROTO_IP:
                information = bytes(4) + information[8:12] + bytes(4)
            else:
                information = information[:16] + bytes(4)
            served.sendmsg([data], [(level, kind, information)], 0, peer)


class UdpClient:
    """A connected UDP socket in a namespace: what the network says of its packets comes back as an exception."""

    def __init__(self, namespace, address, port=5000, source=None, source_port=0):
        self.socket = namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        if source is not None:
            self.socket.bind((source, source_port))
        self.socket.settimeout(5)
        self.socket.connect((address, port))
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self):
        """Sends a packet and takes its echo."""
        self.number += 1
        sent = b"packet %d" % self.number
        self.socket.send(sent)
        received = self.socket.recv(100)
        assert received == sent, f"{received!r} came back for {sent!r}"

    def is_silent(self):
        """Whether neither an answer nor an error has come."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(100)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def ask(namespace, address, port=5000, source=None):
    """One UDP packet there and back; raises what the network says in place of the echo."""
    with UdpClient(namespace, address, port, source) as client:
        client.ask()


class NtpServer:
    """chronyd at the addresses of ntp.ubuntu.com; sets no clock."""

    def __init__(self, lab):
        self.directory = lab.directory
        v4, v6 = lab.zone.v4("ntp.ubuntu.com"), lab.zone.v6("ntp.ubuntu.com")
        configuration = self.directory / "chrony-server.conf"
        configuration.write_text(f"local stratum 1\nallow all\nbindaddress {v4}\nbindaddress {v6}\ncmdport 0\nbindcmdaddress /\n"
                                 f"pidfile {self.directory}/chrony-server.pid\nuser root\n")
        self.process = lab.internet.start("chrony-server", "chronyd", "-x", "-d", "-U", "-f", configuration,
                                          ready=lambda: self.answers(lab, v4))

    @staticmethod
    def answers(lab, address):
        """Whether a client's packet (RFC 5905 7.3: version 4, mode 3) is answered."""
        with lab.internet.socket(kind=socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            client.connect((address, 123))
            try:
                client.send(b"\x23" + bytes(47))
                return len(client.recv(100)) >= 48
            except OSError:
                return False


def query_ntp(namespace, directory, family):
    """chronyd -Q asks ntp.ubuntu.com once and says how far the clock is off; returns the finished program."""
    return namespace.run("chronyd", "-x", "-Q", "-U", f"-{family}", "-t", "8", "server ntp.ubuntu.com iburst maxsamples 1",
                         f"pidfile {directory}/chrony-client-{family}.pid", "cmdport 0", "user root")


class GitServer:
    """sshd at the addresses of git.example with a repository behind it."""

    def __init__(self, lab):
        self.lab = lab
        self.directory = lab.directory / "git"
        self.directory.mkdir()
        for key in ("host_key", "client_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / key], check=True)
        self._make_repository()
        self._configure()
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation; nothing else than sshd asks for it
        v4 = lab.zone.v4("git.example")
        self.process = lab.internet.start("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", self.directory / "sshd_config",
                                          ready=lambda: lab.internet.listens(v4, 22))

    def _make_repository(self):
        def git(*arguments):
            subprocess.run(["git", "-c", "user.name=lab", "-c", "user.email=lab@git.example", *map(str, arguments)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        work, bare = self.directory / "work", self.directory / "bare.git"
        git("init", "-q", "-b", "main", work)
        (work / "cluster.yaml").write_text("kind: Kustomization\n" * 20000)
        git("-C", work, "add", ".")
        git("-C", work, "commit", "-q", "-m", "lab: add a manifest")
        git("clone", "-q", "--bare", work, bare)

    def _configure(self):
        zone = self.lab.zone
        (self.directory / "authorized_keys").write_text((self.directory / "client_key.pub").read_text())
        (self.directory / "sshd_config").write_text(f"""
ListenAddress {zone.v4("git.example")}:22
ListenAddress [{zone.v6("git.example")}]:22
HostKey {self.directory}/host_key
AuthorizedKeysFile {self.directory}/authorized_keys
PidFile {self.directory}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
""")
        host_key = (self.directory / "host_key.pub").read_text()
        (self.directory / "known_hosts").write_text(f"git.example {host_key}")

    def clone(self, namespace, target, family):
        """git clone over SSH by the name git.example; returns the finished program."""
        ssh = (f"ssh -{family} -F none -i {self.directory}/client_key -o UserKnownHostsFile={self.directory}/known_hosts"
               " -o GlobalKnownHostsFile=none -o ConnectTimeout=5 -o BatchMode=yes")
        return namespace.run("git", "clone", "-q", f"ssh://root@git.example{self.directory}/bare.git", target,
                             env={"GIT_SSH_COMMAND": ssh, "GIT_CONFIG_GLOBAL": "/dev/null"})

    def peers(self):
        """The addresses that sshd has seen log in."""
        return re.findall(r"Accepted publickey for root from (\S+) port", self.process.output())


class ChangingDns:
    """A DNS server over UDP whose answers a test changes; what it does not know does not exist."""

    TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}

    def __init__(self, lab, names, address=CHANGING_DNS, ttl_s=1):
        self.lab = lab
        self.names = dict(names)  # name: addresses, or None: SERVFAIL
        self.address = address
        self.ttl_s = ttl_s
        self.asked = []
        self.socket = None

    def __enter__(self):
        self.socket = self.lab.internet.socket(kind=socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(10)
        self.socket.close()

    def _serve(self):
        self.socket.settimeout(0.1)
        while not self.over.is_set():
            try:
                query, peer = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        """RFC 1035 4.1: the header and the question come back, with address records that point at the question's name."""
        labels, at = [], 12
        while query[at] != 0:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        name, family = ".".join(labels), self.TYPES.get(int.from_bytes(query[at + 1:at + 3], "big"))
        self.asked.append(name)
        addresses = self.names.get(name, [])
        code = 2 if addresses is None else 3 if name not in self.names else 0
        packed = [socket.inet_pton(family, address) for address in addresses or [] if (":" in address) == (family == socket.AF_INET6)]
        records = b"".join(b"\xc0\x0c" + question[-4:] + self.ttl_s.to_bytes(4, "big") + len(item).to_bytes(2, "big") + item for item in packed)
        return query[:2] + bytes([0x85, 0x80 | code]) + b"\x00\x01" + len(packed).to_bytes(2, "big") + bytes(4) + question + records
