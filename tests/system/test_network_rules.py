"""Network rules: what the kernel forwards by address, for which cluster, and how the rest is refused."""

import contextlib
import errno
import socket

import pytest

from boot import shipped_sysctls
from clients import read_all, read_until
from lab import POOL_V4, POOL_V6, wait_for
from learned import sets
from network_origins import ECHO, ECHO_V6, OTHER_ECHO, GitServer, NtpServer, UdpClient, UdpEcho, ask, query_ntp
from odd_origins import Origin, speak_first
from service_tags import write_tags

POOL = {4: POOL_V4, 6: POOL_V6}
ECHO_OF = {4: ECHO, 6: ECHO_V6}
SPOKE = {4: "198.18.1.10", 6: "2001:db8:1::10"}
FAMILIES = pytest.mark.parametrize("family", (4, 6))
REFUSED = {4: errno.EHOSTUNREACH, 6: errno.EACCES}  # administratively prohibited, as icmp(7) and RFC 4443 3.1 have it told


def allow(*rules, **changes):
    """A change of the configuration: more rules for the first cluster, and other values for its keys."""
    def change(config):
        config["clusters"][0]["allow"] += rules
        config["clusters"][0].update(changes)
    return change


def dev_cluster(config, **changes):
    """Adds a cluster for the lab's namespace dev."""
    config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24", "2001:db8:4::/64"], "cloud": "AzurePublicCloud",
                               "location": "westeurope", "snat_pool": "main", **changes})


def refused(namespace, address, port=5000, source=None):
    """The error that a UDP client is told by ICMP, or what came in place of one: "echo", "silence"."""
    try:
        ask(namespace, address, port, source)
    except TimeoutError:
        return "silence"
    except OSError as error:
        return error.errno
    return "echo"


@pytest.fixture(name="ntp", scope="module")
def fixture_ntp(lab):
    """An NTP server for ntp.ubuntu.com."""
    server = NtpServer(lab)
    yield server
    server.process.stop()


@pytest.fixture(name="git", scope="module")
def fixture_git(lab):
    """A git server for git.example."""
    server = GitServer(lab)
    yield server
    server.process.stop()


@FAMILIES
def test_ntp_by_name(daemon, lab, ntp, family):
    """chrony asks ntp.ubuntu.com through `udp ntp.ubuntu.com:123` of core; another name's address is refused on that port."""
    def answered():
        return "System clock wrong by" in query_ntp(lab.spoke, lab.directory, family).stderr

    wait_for(answered, "answer of the NTP server", 20)
    assert ntp.process.running()
    assert refused(lab.spoke, ECHO_OF[family], 123) == REFUSED[family]
    assert "cannot be resolved" not in daemon.log()


@FAMILIES
def test_git_over_ssh_by_name(start_daemon, lab, git, family):
    """git clones a repository from git.example over SSH, a port that is not steered; sshd sees a pool address."""
    start_daemon(allow("tcp git.example:22"))
    address = lab.zone.v6("git.example") if family == 6 else lab.zone.v4("git.example")
    wait_for(lambda: lab.spoke.listens(address, 22), "the addresses of git.example in the kernel")
    done = git.clone(lab.spoke, lab.directory / f"clone-{family}", family)
    assert done.returncode == 0, done.stderr + git.process.output()
    assert (lab.directory / f"clone-{family}" / "cluster.yaml").stat().st_size > 100000
    assert git.peers()[-1] in POOL[family]


@FAMILIES
def test_udp_by_prefix(start_daemon, lab, family):
    """A packet to an address of an allowed prefix and its answer pass; a neighbour outside of it and another port do not."""
    start_daemon(allow("udp [203.0.113.220/30]:5000", "udp [2001:db8:f::220/124]:5000"))
    with UdpEcho(lab, ECHO_OF[family]) as echo:
        ask(lab.spoke, ECHO_OF[family])
        assert echo.peers[0][0] in POOL[family]
        assert refused(lab.spoke, {4: "203.0.113.224", 6: "2001:db8:f::230"}[family]) == REFUSED[family]
        assert refused(lab.spoke, ECHO_OF[family], 5001) == REFUSED[family]


@FAMILIES
def test_tcp_by_prefix(start_daemon, lab, family):
    """A connection to an allowed prefix on a port that is not steered passes, and the server may speak first."""
    start_daemon(allow("tcp [203.0.113.0/24]:9000-9002", "tcp [2001:db8:f::/64]:9000-9002"))
    with Origin(lab, speak_first(b"220 ready\r\n"), ECHO_OF[family], 9002) as origin:
        with lab.spoke.connect(ECHO_OF[family], 9002) as connection:
            assert read_until(connection, b"\r\n") == b"220 ready\r\n"
            connection.sendall(b"anything")
            assert read_until(connection, b"anything") == b"anything"
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == (b"", False)
        assert origin.peers[0][0] in POOL[family]


@FAMILIES
def test_udp_by_service_tag(start_daemon, lab, family):
    """The prefixes of a tag are opened to the kernel, and a reload with a newer file closes what left the tag."""
    write_tags(lab, [f"{ECHO}/32", f"{ECHO_V6}/128"])
    daemon = start_daemon(lambda config: (allow("udp tag:AzureMonitor:5000")(config), config.update(service_tags="tags.json")))
    with UdpEcho(lab, ECHO_OF[family]):
        ask(lab.spoke, ECHO_OF[family])
        write_tags(lab, ["20.1.0.0/16"])
        daemon.reload()
        assert refused(lab.spoke, ECHO_OF[family]) == REFUSED[family]


def test_a_rule_of_one_cluster_is_not_anothers(start_daemon, lab):
    """What prod-weu may reach is refused to dev-weu, and a source in no cluster reaches nothing."""
    start_daemon(lambda config: (allow(f"udp [{ECHO}]:5000")(config), dev_cluster(config, allow=[f"udp [{OTHER_ECHO}]:5000"])))
    with UdpEcho(lab), UdpEcho(lab, OTHER_ECHO):
        assert [refused(lab.spoke, ECHO), refused(lab.spoke, OTHER_ECHO)] == ["echo", errno.EHOSTUNREACH]
        assert [refused(lab.dev, ECHO), refused(lab.dev, OTHER_ECHO)] == [errno.EHOSTUNREACH, "echo"]
        assert [refused(lab.stranger, ECHO), refused(lab.stranger, OTHER_ECHO)] == [errno.EHOSTUNREACH] * 2


def test_the_longest_source_prefix_decides_the_cluster(start_daemon, lab):
    """A cluster whose sources lie inside of another's has its own rules, and the other's do not apply there."""
    def change(config):
        allow(f"udp [{ECHO}]:5000")(config)
        dev_cluster(config, sources=["198.18.1.11/32"], allow=[f"udp [{OTHER_ECHO}]:5000"])

    start_daemon(change)
    with UdpEcho(lab), UdpEcho(lab, OTHER_ECHO):
        seen = {source: [refused(lab.spoke, address, source=source) for address in (ECHO, OTHER_ECHO)]
                for source in ("198.18.1.10", "198.18.1.11", "198.18.1.12")}
    outer, inner = ["echo", errno.EHOSTUNREACH], [errno.EHOSTUNREACH, "echo"]
    assert seen == {"198.18.1.10": outer, "198.18.1.11": inner, "198.18.1.12": outer}


@FAMILIES
def test_a_deny_rule_by_prefix_goes_before_an_allow_rule(start_daemon, lab, family):
    """An address that an allowed prefix holds and a denied one too is refused, its neighbour is not."""
    deny = [f"udp [{ECHO}/32]:5000-5001", f"udp [{ECHO_V6}/128]:5000-5001"]
    start_daemon(allow("udp [203.0.113.0/24]:5000", "udp [2001:db8:f::/64]:5000", deny=deny))
    with UdpEcho(lab, {4: OTHER_ECHO, 6: "2001:db8:f::223"}[family]), UdpEcho(lab, ECHO_OF[family]):
        ask(lab.spoke, {4: OTHER_ECHO, 6: "2001:db8:f::223"}[family])
        assert refused(lab.spoke, ECHO_OF[family]) == REFUSED[family]


@FAMILIES
def test_audit_lets_through_what_no_rule_allows(start_daemon, lab, family):
    """In audit mode a packet without a rule, and one that a deny rule names, reach their server from a pool address."""
    daemon = start_daemon(allow(mode="audit", deny=[f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000"]))
    with UdpEcho(lab, ECHO_OF[family]) as echo, UdpEcho(lab, ECHO_OF[family], 5001) as other:
        ask(lab.spoke, ECHO_OF[family], 5000)
        ask(lab.spoke, ECHO_OF[family], 5001)
        assert echo.peers[0][0] in POOL[family] and other.peers[0][0] in POOL[family]
    lab.nva.run("conntrack", "-D", "-f", "ipv6" if family == 6 else "ipv4", "-p", "udp")
    denied = daemon.expect_one_record(action="audit", reason="deny-rule", event="flow", destination_port=5000)
    assert denied["feature"] == "deny" and denied["bytes_in"] == denied["bytes_out"]
    assert "network rule" in daemon.expect_one_record(action="audit", reason="no-network-rule", destination_port=5001)["hint"]


@pytest.fixture(name="private_servers")
def fixture_private_servers(lab):
    """Echo servers at private addresses in the internet of the lab, to which the NVA has a route."""
    lab.internet.batch("route add local 10.20.0.0/16 dev lo\nroute add local fd00:20::/64 dev lo")
    with UdpEcho(lab, "10.20.0.1") as v4, UdpEcho(lab, "fd00:20::1") as v6:
        yield {4: ("10.20.0.1", v4), 6: ("fd00:20::1", v6)}
    lab.internet.batch("route delete local 10.20.0.0/16 dev lo\nroute delete local fd00:20::/64 dev lo")


@FAMILIES
def test_private_destinations_must_be_listed(start_daemon, lab, private_servers, family):
    """An allowed private prefix is refused, in audit mode too, until private_destinations lists it."""
    address, echo = private_servers[family]
    daemon = start_daemon(allow("udp [10.0.0.0/8]:5000", "udp [fd00:20::/32]:5000"))
    assert refused(lab.spoke, address) == REFUSED[family]
    daemon.config["clusters"][0]["mode"] = "audit"
    daemon.reload()
    assert refused(lab.spoke, address) == REFUSED[family]
    daemon.config["clusters"][0].update(mode="enforce", private_destinations=["10.20.0.0/24", "fd00:20::/64"])
    daemon.reload()
    ask(lab.spoke, address)
    assert echo.peers[0][0] in POOL[family]


@FAMILIES
def test_refused_tcp_is_reset(daemon, lab, family):
    """A client of a port that no rule opens reads "connection refused" at once."""
    before = lab.counted("connections")
    with pytest.raises(ConnectionRefusedError):
        lab.spoke.connect(ECHO_OF[family], 9000)
    assert lab.counted("connections") == before



def dropped(lab):
    """Packets that the chain `refuse` has dropped without a word."""
    listing = lab.nva.run("nft", "list", "chain", "inet", "aksegressd", "refuse", check=True).stdout
    assert "reject" not in listing, listing
    return int(listing.rpartition("counter packets ")[2].split()[0])


@FAMILIES
def test_with_drop_refused_clients_hear_nothing(start_daemon, lab, family):
    """refuse_with: drop answers neither a UDP packet nor a SYN nor a ping, though they have arrived."""
    start_daemon(lambda config: config.update(refuse_with="drop"))
    with UdpClient(lab.spoke, ECHO_OF[family]) as client, lab.spoke.socket(client.socket.family) as connection:
        before = dropped(lab)
        client.socket.send(b"refused")
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.connect((ECHO_OF[family], 9000))
        wait_for(lambda: dropped(lab) >= before + 2, "packets in the chain refuse")
        assert client.is_silent()
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@FAMILIES
def test_ping_is_refused(start_daemon, lab, family):
    """No rule opens ICMP: ping reads that a filter refuses it, also towards allowed addresses."""
    start_daemon(allow(f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000", f"tcp [{ECHO}]:5000", f"tcp [{ECHO_V6}]:5000"))
    done = lab.spoke.run("ping", f"-{family}", "-n", "-c", "1", "-W", "5", ECHO_OF[family])
    assert done.returncode == 1, done.stdout
    assert "0 received" in done.stdout
    assert {4: "Packet filtered", 6: "Administratively prohibited"}[family] in done.stdout


@FAMILIES
def test_an_icmp_error_of_an_allowed_flow_reaches_its_client(start_daemon, lab, family):
    """What an origin's host says of an allowed packet (nobody listens there) comes back: path MTU discovery needs that."""
    start_daemon(allow(f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000"))
    assert refused(lab.spoke, ECHO_OF[family]) == errno.ECONNREFUSED


@FAMILIES
def test_quic_to_an_allowed_name_is_refused_at_once(daemon, lab, family):
    """A QUIC client is told by ICMP that UDP 443 is prohibited, and nothing of it leaves."""
    address = lab.zone.v6("mcr.microsoft.com") if family == 6 else lab.zone.v4("mcr.microsoft.com")
    assert refused(lab.spoke, address, 443) == REFUSED[family]


@pytest.fixture(name="shipped_icmp_settings")
def fixture_shipped_icmp_settings(lab):
    """The settings about ICMP that are installed with the daemon, on the NVA."""
    wanted = {key: value for key, value in shipped_sysctls().items() if "icmp" in key}
    former = {key: lab.nva.run("sysctl", "-n", key, check=True).stdout.strip() for key in wanted}
    lab.nva.run("sysctl", "-w", *(f"{key}={value}" for key, value in wanted.items()), check=True)
    yield
    lab.nva.run("sysctl", "-w", *(f"{key}={value}" for key, value in former.items()), check=True)


@FAMILIES
@pytest.mark.usefixtures("daemon", "shipped_icmp_settings")
def test_each_of_many_refusals_is_told(lab, family):
    """100 refused packets of one client within a second: it hears of each, and never waits for a timeout."""
    for _ in range(100):
        assert refused(lab.spoke, ECHO_OF[family]) == REFUSED[family]


def test_long_names_and_many_ports_and_overlapping_prefixes(start_daemon, lab):
    """What names of sets and chains are made of may be as long and odd as the configuration admits."""
    name = "9-prod-weu-" + "x" * 51 + "-"
    ports = ",".join(str(port) for port in range(5000, 5040, 2))
    start_daemon(allow(f"udp [203.0.113.0/24,{ECHO}/32,203.0.113.220/30]:{ports}", f"udp [{ECHO}]:5000-5010", f"udp echo.example:{ports}",
                       f"udp [{ECHO_V6}/128,2001:db8:f::/64,2001:db8::/32]:{ports}", name=name))
    for address in (ECHO, ECHO_V6):
        with UdpEcho(lab, address, 5038):
            ask(lab.spoke, address, 5038)
    wait_for(lambda: any(ECHO in str(elements) for set_name, elements in sets(lab).items() if set_name.startswith("learned.udp.x")),
             "the name's address in a set that is named by a hash")


def test_a_tag_of_thousands_of_prefixes_is_opened(start_daemon, lab):
    """12,000 prefixes, as many as the largest tag has, are in force when the daemon is ready, to the last one."""
    prefixes = [f"20.{number >> 8}.{number & 255}.0/25" for number in range(9000)]
    write_tags(lab, [*prefixes, *(f"2a01:111:{number:x}::/48" for number in range(3000)), f"{ECHO}/32", f"{ECHO_V6}/128"])
    start_daemon(lambda config: (allow("udp tag:AzureMonitor:5000")(config), config.update(service_tags="tags.json")))
    for address in (ECHO, ECHO_V6):
        with UdpEcho(lab, address):
            ask(lab.spoke, address)
    assert refused(lab.spoke, OTHER_ECHO) == errno.EHOSTUNREACH


def test_nobody_outside_can_begin_a_flow(start_daemon, lab):
    """A packet from the internet to a client, or to an open flow's client from another port, is neither forwarded nor answered."""
    daemon = start_daemon(allow(f"udp [{ECHO}]:5000"))
    lab.internet.batch("route add 198.18.1.0/24 via 198.18.2.1")
    try:
        with UdpEcho(lab), UdpClient(lab.spoke, ECHO) as client:
            client.ask()
            assert refused(lab.internet, "198.18.1.10", client.socket.getsockname()[1], "203.0.113.222") == "silence"
            assert client.is_silent()
            assert daemon.wait_record(reason="unknown-source")["client_ip"] == "203.0.113.222"
    finally:
        lab.internet.batch("route delete 198.18.1.0/24 via 198.18.2.1")


@FAMILIES
def test_the_nva_reaches_clients_from_an_address_among_their_sources(daemon, lab, family):
    """What the NVA itself sends is not stopped with what the table has not marked, though its address is in a cluster's prefix."""
    with lab.spoke.listen(SPOKE[family], 9000) as listener, lab.nva.connect(SPOKE[family], 9000) as connection:
        assert listener.accept()[1][0] == connection.getsockname()[0] == {4: "198.18.1.1", 6: "2001:db8:1::1"}[family]
    assert lab.nva.run("ip", f"-{family}", "rule").stdout.count("unreachable") == 1, daemon.log()
