"""Nothing leaves with a client's own address, and nothing of a proxied connection is forwarded by the kernel, whatever happens.

Traffic of all kinds goes on meanwhile, and what leaves is captured at both ends of the wire to the internet.
"""

import contextlib
import signal
import threading

import pytest

from capture import CLIENT_PORTS, LEAKS, Capture
from clients import hello
from daemon import BUILD
from lab import wait_for
from network_origins import ECHO, ECHO_V6, UdpClient, UdpEcho
from odd_origins import ODD, ODD_V6, Origin, speak_first

RECORD = b"\x17\x03\x03\x10\x00" + bytes(4096)
RELOADS = 50
UPLOADS = 3  # of each family at a time
FORWARDING = {"net__ipv4__ip_forward": 1, "net__ipv6__conf__all__forwarding": 1}


class Traffic:
    """Clients in the spoke that begin anew whenever their connection ends: uploads and a download through the proxy, forwarded flows."""

    def __init__(self, lab):
        self.lab = lab
        self.over = threading.Event()
        self.moved = {}
        kinds = [(f"download {family}", self._download, family) for family in (4, 6)]
        for address, echo in ((ODD, ECHO), (ODD_V6, ECHO_V6)):
            kinds += [(f"upload {number} {address}", self._upload, address) for number in range(UPLOADS)]
            kinds += [(f"udp {echo}", self._udp, echo), (f"tcp {echo}", self._tcp, echo)]
        self.threads = [threading.Thread(target=self._repeat, args=kind, daemon=True) for kind in kinds]
        for kind in kinds:
            self.moved[kind[0]] = 0

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_flowing()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def _repeat(self, label, run, argument):
        while not self.over.wait(0.01):
            with contextlib.suppress(OSError):
                run(label, argument)

    def _upload(self, label, address):
        with self.lab.spoke.connect(address, 443, timeout=3) as connection:
            connection.sendall(hello("odd.allowed.example"))
            while not self.over.wait(0.01):
                connection.sendall(RECORD)
                self.moved[label] += 1

    def _download(self, label, family):
        done = self.lab.spoke.run("curl", "-sS", f"-{family}", "--max-time", "3", "--limit-rate", "4M", "-r", "0-2000000", "-o", "/dev/null",
                                  "https://packages.microsoft.com/file/big")
        self.moved[label] += done.returncode == 0

    def _udp(self, label, address):
        with UdpClient(self.lab.spoke, address) as client:
            client.socket.settimeout(1)
            while not self.over.wait(0.01):
                client.ask()
                self.moved[label] += 1

    def _tcp(self, label, address):
        with self.lab.spoke.connect(address, 9000, timeout=3) as connection:
            connection.recv(100)
            while not self.over.wait(0.01):
                connection.sendall(b"ping")
                if not connection.recv(100):
                    return
                self.moved[label] += 1

    def wait_flowing(self, timeout=20):
        """Waits until each kind has moved something more."""
        before = dict(self.moved)

        def stalled():
            return [label for label, count in self.moved.items() if count <= before[label]]

        try:
            wait_for(lambda: not stalled(), "traffic of each kind", timeout)
        except TimeoutError:
            raise AssertionError(f"nothing moves: {stalled()}") from None


def with_rules(config):
    config["clusters"][0]["allow"] += [f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000", f"tcp [{ECHO}]:9000", f"tcp [{ECHO_V6}]:9000"]
    config["drain"] = "0s"


@pytest.fixture(name="traffic")
def fixture_traffic(start_daemon, lab):
    """A daemon and traffic through it; afterwards nothing must have leaked. Its attribute `daemon` is the one that runs."""
    with contextlib.ExitStack() as stack:
        for address, echo in ((ODD, ECHO), (ODD_V6, ECHO_V6)):
            stack.enter_context(Origin(lab, note_nothing, address))
            stack.enter_context(Origin(lab, speak_first(b"220 ready\r\n"), echo, 9000))
            stack.enter_context(UdpEcho(lab, echo))
        with lab.spoke.entered(), open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as stream:
            usual_ports = stream.read()
        lab.spoke.sysctl(net__ipv4__ip_local_port_range="{} {}".format(*CLIENT_PORTS))
        stack.callback(lab.spoke.sysctl, net__ipv4__ip_local_port_range=usual_ports)
        daemon = start_daemon(with_rules)
        outside = stack.enter_context(Capture(lab, lab.internet, "eth0", LEAKS))
        inside = stack.enter_context(Capture(lab, lab.nva, "internet0", LEAKS))
        with Traffic(lab) as running:
            running.daemon = daemon
            yield running
        assert (outside.packets(), inside.packets()) == ([], [])


def note_nothing(connection, _origin):
    while connection.recv(65536):
        pass
    connection.close()


def end(daemon):
    """TERM, while clients are at work."""
    daemon.finished = True
    daemon.check_ended(daemon.stop())


def flush(lab):
    return lab.nva.run(BUILD / "aksegressctl", "flush")


def test_captures_see_leaks(lab):
    """Without a daemon the captures of these tests see what is forwarded, with and without source NAT."""
    assert lab.counted("leaked") == 0
    flush(lab)
    lab.nva.sysctl(**FORWARDING)
    lab.nva.nft("""
table inet some_nat {
        chain postrouting { type nat hook postrouting priority srcnat; oifname "internet0" tcp dport 443 snat ip to 198.18.2.10; }
}""")
    lab.spoke.sysctl(net__ipv4__ip_local_port_range="{} {}".format(*CLIENT_PORTS))
    try:
        with Capture(lab, lab.internet, "eth0", LEAKS) as outside, Capture(lab, lab.nva, "internet0", LEAKS) as inside:
            lab.spoke.connect(lab.zone.v4("mcr.microsoft.com"), 443).close()
            with UdpEcho(lab), UdpClient(lab.spoke, ECHO) as client:
                client.ask()
            for capture in (outside, inside):
                seen = capture.packets()
                assert any("198.18.1.10" in line and ".5000: UDP" in line for line in seen), seen
                assert any("198.18.2.10.2" in line and ".443: Flags [S]" in line for line in seen), seen
    finally:
        lab.nva.nft("delete table inet some_nat\n")
        lab.spoke.sysctl(net__ipv4__ip_local_port_range="32768 60999")
        lab.internet.nft("reset counters")  # this one's leaks are on purpose


def test_reloads_and_a_restart_leak_nothing(traffic, start_daemon):
    """50 reloads that take ports from the steered ones and rules from the kernel and give them back, then TERM and a new start."""
    daemon = traffic.daemon
    allow = daemon.config["clusters"][0]["allow"]
    for number in range(RELOADS):
        daemon.config["clusters"][0]["allow"] = allow if number % 2 else [rule for rule in allow if ECHO_V6 not in rule]
        daemon.reload()
    traffic.wait_flowing()
    end(daemon)
    traffic.daemon = start_daemon(with_rules)
    traffic.wait_flowing()


def test_a_flush_of_all_rules_leaks_nothing(traffic, lab):
    """Each time that another program removes every rule of nftables, what passes until the daemon's are back goes nowhere."""
    for times in range(1, 11):
        lab.nva.nft("flush ruleset\n")
        wait_for(lambda times=times: traffic.daemon.log().count("put it back") >= times, "table")
    traffic.wait_flowing()


def test_aksegressctl_flush_leaks_nothing(traffic, lab, start_daemon):
    """It refuses while a daemon runs; afterwards it removes everything, and with it the forwarding."""
    refusal = flush(lab)
    assert refusal.returncode == 1 and "daemon runs" in refusal.stderr, refusal
    traffic.wait_flowing()
    end(traffic.daemon)
    done = flush(lab)
    assert done.returncode == 0, done
    assert "aksegressd" not in lab.nva.run("nft", "list", "tables").stdout
    for family in (4, 6):
        rules = lab.nva.run("ip", f"-{family}", "rule", check=True).stdout
        assert not any(word in rules for word in ("0x6165", "unreachable", "nop")), rules
    moved = dict(traffic.moved)
    with pytest.raises(OSError):
        lab.spoke.connect(ECHO, 9000, timeout=0.5)
    assert {label: count for label, count in traffic.moved.items() if count > moved[label] + 2} == {}
    traffic.daemon = start_daemon(with_rules)
    lab.nva.sysctl(**FORWARDING)
    traffic.wait_flowing()


@contextlib.contextmanager
def suppressed_resets(lab):
    """No RST or FIN leaves the NVA: the clients of a dead daemon go on sending. Counts what comes to the forward hook of theirs,
    and what passes it."""
    lab.nva.nft("""
table inet suppress {
        counter came4 { }
        counter came6 { }
        counter passed { }
        chain output { type filter hook output priority 300; tcp flags & (fin | rst) != 0 drop; }
        chain before { type filter hook forward priority -10; iifname "spoke0" jump steered; }
        chain after { type filter hook forward priority 10; iifname "spoke0" tcp dport { 80, 443 } counter name passed; }
        chain steered {
                meta nfproto ipv4 tcp dport { 80, 443 } counter name came4
                meta nfproto ipv6 tcp dport { 80, 443 } counter name came6
        }
}""")
    try:
        yield
    finally:
        lab.nva.nft("delete table inet suppress\n")


def counted(lab, name):
    listing = lab.nva.run("nft", "list", "counter", "inet", "suppress", name, check=True).stdout
    return int(listing.partition("packets ")[2].split()[0])


def test_a_killed_daemon_leaks_nothing_though_its_resets_are_lost(traffic, lab, start_daemon):
    """Clients that know nothing of the end send on: none of it is forwarded, while allowed flows of the kernel go on."""
    with suppressed_resets(lab):
        traffic.daemon.send(signal.SIGKILL)
        traffic.daemon.stop()
        traffic.daemon.finished = True
        before = dict(traffic.moved)
        wait_for(lambda: min(counted(lab, "came4"), counted(lab, "came6")) >= 20, "packets of proxied connections at the forward hook", 20)
        forwarded = [label for label in before if label.startswith(("udp", "tcp"))]
        wait_for(lambda: all(traffic.moved[label] > before[label] for label in forwarded), "forwarded flows")
        assert counted(lab, "passed") == 0
    traffic.daemon = start_daemon(with_rules)
    traffic.wait_flowing()


def test_rules_that_are_flushed_while_no_daemon_runs_leak_nothing(traffic, lab, start_daemon):
    """With the daemon killed and its table removed by another program the clients' packets have nowhere to go."""
    traffic.daemon.send(signal.SIGKILL)
    traffic.daemon.stop()
    traffic.daemon.finished = True
    lab.nva.nft("""
flush ruleset
table inet suppress {
        counter came4 { }
        counter came6 { }
        counter passed { }
        chain prerouting {
                type filter hook prerouting priority 0
                iifname "spoke0" meta nfproto ipv4 counter name came4
                iifname "spoke0" meta nfproto ipv6 counter name came6
        }
        chain forward { type filter hook forward priority 0; iifname "spoke0" counter name passed; }
}""")
    wait_for(lambda: min(counted(lab, "came4"), counted(lab, "came6")) >= 20, "packets of the clients", 20)
    assert counted(lab, "passed") == 0
    lab.nva.nft("delete table inet suppress\n")
    traffic.daemon = start_daemon(with_rules)
    traffic.wait_flowing()
