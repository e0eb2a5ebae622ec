"""Every row of the reason table, provoked once, each giving exactly one record.

tests/lint compares the decorators below with include/policy/reason_table.h.
"""

import contextlib
import errno
import signal
import socket
import struct

import pytest

from clients import Client, alert, ends_unanswered, extension, hello, hello_retry, http_response, raw_hello, read_all, read_until, server_name
from daemon import ROOT
from lab import POOL_V4, wait_for
from odd_origins import ODD, Origin, answer, keep_open, reset
from origins import DNS_ADDRESS
from test_snat import few_ports, PORTS  # noqa: F401 (a fixture)

ODD_NAME = "odd.allowed.example"


def provokes(word):
    """Marks the test that provokes this row."""
    def mark(test):
        test.reason = word
        return test
    return mark


@pytest.fixture
def provoke(start_daemon):
    """provoke(change) starts a daemon with an IPv4 pool and short timeouts; only(reason) is its one record."""
    def start(change=None):
        def all_changes(config):
            config["snat_pools"] = [{"name": "main", "addresses": [f"{POOL_V4[0]}-{POOL_V4[-1]}"]}]
            config["timeouts"] = {"inspect": "1s", "resolve": "1s", "connect": "1s", "idle": "10s"}
            if change is not None:
                change(config)
        daemon = start_daemon(all_changes)
        daemon.expected_count = 1
        return daemon
    return start


def tls(client, name, first=None, dial=ODD_NAME):
    """Sends a hello for name (or first) to the address of dial; returns everything that comes back and whether by reset."""
    with client.connect(dial) as connection:
        connection.sendall(first or hello(name))
        return read_all(connection)


def http(client, name, dial=ODD_NAME):
    """A request in cleartext; returns the status."""
    with client.connect(dial, 80) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        return http_response(connection)[0]


@provokes("completed")
def test_completed(provoke, client):
    """A whole request and answer."""
    daemon = provoke()
    assert client.curl("https://first.allowed.example/").status == 200
    assert daemon.expect_one_record(reason="completed")["action"] == "allow"


@provokes("client-aborted")
def test_client_aborted(provoke, client, lab):
    """The client resets a connection that was let through."""
    daemon = provoke()
    with Origin(lab, keep_open) as origin:
        connection = client.connect(ODD_NAME)
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        reset(connection)
        assert daemon.expect_one_record(reason="client-aborted")["action"] == "allow"


@provokes("upstream-aborted")
def test_upstream_aborted(provoke, client, lab):
    """The origin resets after the hello."""
    def handler(connection, _origin):
        connection.recv(65536)
        reset(connection)

    daemon = provoke()
    with Origin(lab, handler):
        tls(client, ODD_NAME)
    assert daemon.expect_one_record(reason="upstream-aborted")["action"] == "allow"


@provokes("idle-timeout")
def test_idle_timeout(provoke, client, lab):
    """Nobody says anything for timeouts.idle."""
    daemon = provoke(lambda config: config["timeouts"].update(idle="1s"))
    with Origin(lab, keep_open):
        tls(client, ODD_NAME)
    assert 900 <= daemon.expect_one_record(reason="idle-timeout")["duration_ms"] <= 5000


@provokes("policy-changed")
def test_policy_changed(provoke, client, lab):
    """A reload takes the rule away under a live connection."""
    daemon = provoke()
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        daemon.config["clusters"][0]["allow"] = []
        daemon.reload()
        read_all(connection)
    assert daemon.expect_one_record(reason="policy-changed")["fqdn"] == ODD_NAME


@provokes("shutdown")
def test_shutdown(provoke, client, lab):
    """The drain period ends before the connection does."""
    daemon = provoke(lambda config: config.update(drain="1s"))
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        daemon.send(signal.SIGTERM)
        read_all(connection)
        daemon.expect_one_record(reason="shutdown")
        daemon.finish()


@provokes("bad-response")
def test_bad_response(provoke, client, lab):
    """The origin answers in no HTTP that anybody could read."""
    daemon = provoke()
    with Origin(lab, answer(b"HTTP/1.1 2OO what\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), port=80):
        assert http(client, ODD_NAME) == 502
    daemon.expect_one_record(reason="bad-response")


@provokes("name-not-found")
def test_name_not_found(provoke, client):
    """An allowed name that DNS does not know."""
    daemon = provoke()
    assert alert(tls(client, "nowhere.allowed.example")[0]) == "unrecognized_name"
    assert daemon.expect_one_record(reason="name-not-found")["action"] == "allow"


@provokes("resolve-failed")
def test_resolve_failed(provoke, client):
    """The DNS server says SERVFAIL."""
    daemon = provoke(lambda config: config["clusters"][0]["allow"].append("https *.servfail.example:443"))
    assert alert(tls(client, "broken.servfail.example")[0]) == "internal_error"
    daemon.expect_one_record(reason="resolve-failed")


@provokes("resolve-timeout")
def test_resolve_timeout(provoke, client, lab):
    """The DNS server does not answer."""
    daemon = provoke()
    with lab.silenced(DNS_ADDRESS):
        assert http(client, ODD_NAME) == 504
    assert 400 <= daemon.expect_one_record(reason="resolve-timeout")["duration_ms"] <= 3000  # newer c-ares gives up a little early


@provokes("connect-refused")
def test_connect_refused(provoke, client):
    """Nobody listens at the origin."""
    daemon = provoke()
    assert http(client, "refused.allowed.example", dial="refused.allowed.example") == 502
    assert daemon.expect_one_record(reason="connect-refused")["destination_ip"] == "203.0.113.210"


@provokes("connect-unreachable")
def test_connect_unreachable(provoke, client, lab):
    """The NVA has no route to the origin."""
    daemon = provoke()
    lab.nva.batch("route add unreachable 203.0.113.251")
    try:
        assert http(client, "unreachable.allowed.example") == 502
    finally:
        lab.nva.batch("route delete unreachable 203.0.113.251")
    daemon.expect_one_record(reason="connect-unreachable")


@provokes("connect-timeout")
def test_connect_timeout(provoke, client):
    """The origin does not answer."""
    daemon = provoke()
    assert http(client, "silent.allowed.example", dial="silent.allowed.example") == 504
    assert 900 <= daemon.expect_one_record(reason="connect-timeout")["duration_ms"] <= 3000


@provokes("unknown-source")
def test_unknown_source(provoke, lab):
    """A client of no cluster."""
    daemon = provoke()
    assert alert(tls(Client(lab, lab.stranger), "mcr.microsoft.com")[0]) == "access_denied"
    record = daemon.expect_one_record(reason="unknown-source")
    assert record["client_ip"] in record["hint"]
    assert "cluster" not in record
    assert record["client_ip"] == "198.18.3.10"


@provokes("no-rule")
def test_no_rule(provoke, client):
    """A name that no rule allows; the hint names the feature that would."""
    daemon = provoke()
    assert alert(tls(client, "global.handler.control.monitor.azure.com")[0]) == "unrecognized_name"
    assert "monitor" in daemon.expect_one_record(reason="no-rule")["hint"]


@provokes("deny-rule")
def test_deny_rule(provoke, client):
    """A name that the cluster denies."""
    daemon = provoke()
    assert http(client, "forbidden.allowed.example") == 403
    assert daemon.expect_one_record(reason="deny-rule")["feature"] == "deny"


@provokes("forbidden-address")
def test_forbidden_address(provoke, client):
    """An allowed name whose address is private."""
    daemon = provoke()
    assert http(client, "private.allowed.example") == 403
    record = daemon.expect_one_record(reason="forbidden-address")
    assert "private_destinations" in record["hint"]


@provokes("platform-address")
def test_platform_address(provoke, client):
    """An allowed name that points at Azure's wire server."""
    daemon = provoke()
    assert alert(tls(client, "platform.allowed.example")[0]) == "access_denied"
    daemon.expect_one_record(reason="platform-address")


@provokes("own-address")
def test_own_address(provoke, client):
    """The proxy asked to connect to itself, with a network rule that covers it."""
    daemon = provoke(lambda config: config["clusters"][0]["allow"].append("tcp [198.18.1.1]:3128"))
    with client.proxy() as connection:
        connection.sendall(b"CONNECT 198.18.1.1:3128 HTTP/1.1\r\nHost: 198.18.1.1:3128\r\n\r\n")
        assert http_response(connection)[0] == 403
    daemon.expect_one_record(reason="own-address")


@provokes("no-server-name")
def test_no_server_name(provoke, client):
    """A hello without server_name."""
    daemon = provoke()
    assert alert(tls(client, "", raw_hello())[0]) == "unrecognized_name"
    daemon.expect_one_record(reason="no-server-name")


@provokes("bad-server-name")
def test_bad_server_name(provoke, client):
    """A hello whose server_name is an address."""
    daemon = provoke()
    assert alert(tls(client, "", raw_hello(server_name(b"203.0.113.100")))[0]) == "unrecognized_name"
    assert "fqdn" not in daemon.expect_one_record(reason="bad-server-name")


@provokes("bad-client-hello")
def test_bad_client_hello(provoke, client):
    """A hello with two server_name extensions."""
    daemon = provoke()
    twice = raw_hello(server_name(b"mcr.microsoft.com"), server_name(b"example.com"))
    assert alert(tls(client, "", twice)[0]) == "decode_error"
    daemon.expect_one_record(reason="bad-client-hello")


@provokes("client-hello-too-large")
def test_client_hello_too_large(provoke, client):
    """A hello of more than 64 KiB."""
    daemon = provoke()
    small = raw_hello(server_name(b"mcr.microsoft.com"), extension(21, b"\x00" * 4000))
    large = small[:6] + (70000).to_bytes(3, "big") + small[9:]
    assert alert(tls(client, "", large)[0]) == "decode_error"
    daemon.expect_one_record(reason="client-hello-too-large")


@provokes("server-name-mismatch")
def test_server_name_mismatch(provoke, client):
    """CONNECT to one name, a hello for another."""
    daemon = provoke()
    with client.proxy() as connection:
        connection.sendall(b"CONNECT first.allowed.example:443 HTTP/1.1\r\nHost: first.allowed.example:443\r\n\r\n")
        read_until(connection, b"\r\n\r\n")
        connection.sendall(hello("second.allowed.example"))
        assert alert(read_all(connection)[0]) == "unrecognized_name"
    assert daemon.expect_one_record(reason="server-name-mismatch")["action"] == "deny"


@provokes("server-name-changed")
def test_server_name_changed(provoke, client, lab):
    """After a HelloRetryRequest the second hello names another server: it does not reach the origin."""
    def handler(connection, origin):
        origin.note(connection.recv(65536))
        connection.sendall(hello_retry())
        origin.note(connection.recv(65536))

    daemon = provoke()
    with Origin(lab, handler) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(raw_hello(server_name(ODD_NAME.encode())))
        assert connection.recv(65536) == hello_retry()
        connection.sendall(raw_hello(server_name(b"first.allowed.example")))
        assert alert(read_all(connection)[0]) in ("illegal_parameter", None)
        origin.wait(lambda it: len(it.received) == 2)
        assert origin.received[1] == b""
    assert daemon.expect_one_record(reason="server-name-changed")["action"] == "deny"


@provokes("unknown-protocol")
def test_unknown_protocol(provoke, client):
    """Neither TLS nor HTTP on port 443."""
    daemon = provoke()
    assert tls(client, "", b"SSH-2.0-OpenSSH_9.2\r\n")[0] == b""
    daemon.expect_one_record(reason="unknown-protocol")


@provokes("bad-request")
def test_bad_request(provoke, client):
    """A request with Content-Length and Transfer-Encoding."""
    daemon = provoke()
    with client.connect(ODD_NAME, 80) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: odd.allowed.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert http_response(connection)[0] == 400
    daemon.expect_one_record(reason="bad-request")


@provokes("request-too-large")
def test_request_too_large(provoke, client):
    """A request head of more than 64 KiB."""
    daemon = provoke()
    with client.connect(ODD_NAME, 80) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: odd.allowed.example\r\n" + b"X-Filler: 0123456789abcdef\r\n" * 2500)
        assert http_response(connection)[0] == 431
    daemon.expect_one_record(reason="request-too-large")


@provokes("not-a-proxy-request")
def test_not_a_proxy_request(provoke, client):
    """A path instead of a URL at the proxy port."""
    daemon = provoke()
    with client.proxy() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
        assert http_response(connection)[0] == 400
    daemon.expect_one_record(reason="not-a-proxy-request")


@provokes("inspect-timeout")
def test_inspect_timeout(provoke, client):
    """Half a request, then silence."""
    daemon = provoke()
    with client.connect(ODD_NAME, 80) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: odd.allow")
        assert http_response(connection)[0] == 408
    assert 900 <= daemon.expect_one_record(reason="inspect-timeout")["duration_ms"] <= 3000


@provokes("client-gone")
def test_client_gone(provoke, client):
    """A connection that ends without a word."""
    daemon = provoke()
    client.connect(ODD_NAME).close()
    assert daemon.expect_one_record(reason="client-gone")["action"] == "deny"


@provokes("snat-exhausted")
def test_snat_exhausted(provoke, client, lab, few_ports):  # noqa: F811
    """One pool address with four ports, four connections held, a fifth wanted."""
    daemon = provoke(lambda config: config["snat_pools"][0].update(addresses=[POOL_V4[5]]))
    daemon.expected_count = PORTS + 1
    with Origin(lab, keep_open) as origin, contextlib.ExitStack() as stack:
        for count in range(PORTS):
            connection = stack.enter_context(client.connect(ODD_NAME))
            connection.sendall(hello(ODD_NAME))
            origin.wait(lambda it, count=count: len(it.peers) > count)
        assert alert(tls(client, ODD_NAME)[0]) == "internal_error"
        assert daemon.expect_one_record(reason="snat-exhausted")["destination_ip"] == ODD


@provokes("snat-unavailable")
def test_snat_unavailable(provoke, client):
    """The only pool address is on no interface."""
    daemon = provoke(lambda config: config["snat_pools"][0].update(addresses=["198.18.2.99"]))
    assert http(client, ODD_NAME) == 503
    daemon.expect_one_record(reason="snat-unavailable")
    assert "198.18.2.99" in daemon.log()


@provokes("too-many-connections")
def test_too_many_connections(provoke, client, lab):
    """limits.connections is one, and one is open."""
    daemon = provoke(lambda config: config.update(limits={"connections": 1}))
    daemon.expected_count = 2
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        assert ends_unanswered(lambda: client.connect(ODD_NAME))
        daemon.expect_one_record(reason="too-many-connections")


@provokes("too-many-client-connections")
def test_too_many_client_connections(provoke, client, lab):
    """limits.connections_per_client is one: the client's second is refused, another client's first is not."""
    daemon = provoke(lambda config: config.update(limits={"connections_per_client": 1}))
    daemon.expected_count = 3
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        assert ends_unanswered(lambda: client.connect(ODD_NAME))
        daemon.expect_one_record(reason="too-many-client-connections")
        with client.connect(ODD_NAME, source="198.18.1.11") as other:
            other.sendall(hello(ODD_NAME))
            origin.wait(lambda it: len(it.peers) == 2)


@provokes("no-resources")
def test_no_resources(provoke, client):
    """No descriptor is left: the client is reset at once, and the daemon goes on when there are some again."""
    daemon = provoke()
    daemon.expected_count = 2
    daemon.use_up_descriptors()
    assert ends_unanswered(lambda: client.connect(ODD_NAME))
    daemon.expect_one_record(reason="no-resources")
    assert "pausing" not in daemon.log(), "nobody else waits: there is nothing to pause for"
    daemon.restore_descriptors()
    assert client.curl("https://first.allowed.example/").status == 200
    daemon.expect_one_record(fqdn="first.allowed.example", reason="completed")


def send_udp(lab, address, port, payload=b"anybody there?"):
    """One datagram from the spoke; returns the error that an ICMP message makes of it."""
    with lab.spoke.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((address, port))
        client.send(payload)
        try:
            client.recv(1)
        except OSError as error:
            return error.errno
    return None


@provokes("no-network-rule")
def test_no_network_rule(provoke, lab):
    """A datagram to a port that no rule is about."""
    daemon = provoke()
    assert send_udp(lab, "203.0.113.77", 4242) == errno.EHOSTUNREACH
    record = daemon.expect_one_record(reason="no-network-rule")
    assert (record["event"], record["listener"], record["protocol"], record["destination_ip"], record["destination_port"]) == (
        "packet", "forward", "udp", "203.0.113.77", 4242)


@provokes("quic")
def test_quic(provoke, lab):
    """The first datagram of a QUIC connection: its client falls back at once, and the record says whom it wanted."""
    daemon = provoke()
    datagram = bytes.fromhex((ROOT / "tests/data/quic/rfc9001-client.hex").read_text())
    assert send_udp(lab, "203.0.113.77", 443, datagram) == errno.EHOSTUNREACH
    assert daemon.expect_one_record(reason="quic")["fqdn"] == "example.com"


@provokes("icmp")
def test_icmp(provoke, lab):
    """An echo request."""
    daemon = provoke()
    assert lab.spoke.run("ping", "-c", 1, "-W", 1, "203.0.113.77").returncode != 0
    assert "destination_port" not in daemon.expect_one_record(reason="icmp", protocol="icmp")


@provokes("dns-bypass")
def test_dns_bypass(provoke, lab):
    """A query to a server that no rule allows."""
    daemon = provoke()
    queries = lab.counted("queries")
    assert send_udp(lab, DNS_ADDRESS, 53) == errno.EHOSTUNREACH
    assert "listen.dns" in daemon.expect_one_record(reason="dns-bypass")["hint"]
    assert lab.counted("queries") == queries


@provokes("not-proxied")
def test_not_proxied(provoke, client, lab):
    """A new connection while the daemon ends: nobody listens any more, and the kernel does not forward it either."""
    daemon = provoke(lambda config: config.update(drain="5s"))
    daemon.expected_count = None  # of the connections that are tried, a worker may still accept some
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        daemon.send(signal.SIGTERM)
        daemon.wait_log("stopping")
        wait_for(lambda: refuses(client), "refusal")
        daemon.expect_one_record(reason="not-proxied")
    daemon.finish()
    assert [record["reason"] for record in daemon.records() if record.get("action") == "allow"] == ["completed"]


def refuses(client):
    """Whether a new connection to a steered port is reset at once; one that a worker still accepted is closed again."""
    try:
        client.connect(ODD_NAME).close()
    except ConnectionRefusedError:
        return True
    return False


@provokes("no-flow")
def test_no_flow(provoke, lab):
    """A segment of a TCP connection that is not known here, on a port that is not steered."""
    daemon = provoke()
    segment = tcp_segment("198.18.1.10", "203.0.113.77", 40000, 2222, 0x10)
    with lab.spoke.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(segment, ("203.0.113.77", 0))
    assert daemon.expect_one_record(reason="no-flow")["client_port"] == 40000


def tcp_segment(source, destination, source_port, destination_port, flags):
    """A TCP header (RFC 9293 3.1) with its checksum and nothing behind it."""
    header = struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 1, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(header)) // 2}H", pseudo + header))
    total = (total & 0xffff) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xffff
    return header[:16] + struct.pack("!H", checksum) + header[18:]


@provokes("bad-query")
def test_bad_query(provoke, lab):
    """Bytes that are no DNS message, to the DNS listener."""
    daemon = provoke(lambda config: config["listen"].update(dns={"address": "198.18.1.1", "port": 53}))
    with lab.spoke.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"\x12\x34\x01\x00\x00\x02" + bytes(6), ("198.18.1.1", 53))
        client.settimeout(10)
        assert client.recv(512)[3] & 15 == 1  # FORMERR
    assert daemon.expect_one_record(reason="bad-query")["event"] == "query"
