"""What goes wrong outside: slow clients, DNS or origins down, no disk, no descriptors. Bounded, recorded, survived."""

import contextlib
import socket
import time

import pytest

from clients import ends_unanswered, hello, http_response, read_all
from lab import POOL_V4, wait_for
from odd_origins import Origin, close_at_once, keep_open, reset, reset_at_once
from origins import DNS_ADDRESS

ODD_NAME = "odd.allowed.example"


def resident_kib(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_a_slow_client_is_bounded(start_daemon, client):
    """A byte at a time does not extend the time to inspect: refused when timeouts.inspect is over."""
    daemon = start_daemon(lambda config: config["timeouts"].update(inspect="1s"))
    sent = hello("first.allowed.example")
    began = time.monotonic()
    with client.connect("first.allowed.example") as connection:
        connection.settimeout(0.05)
        answered = b""
        for byte in sent[:-1]:
            with contextlib.suppress(OSError):
                connection.sendall(bytes([byte]))
            try:
                answered = connection.recv(100)
                break
            except TimeoutError:
                continue
            except OSError:
                break
        assert answered[:1] in (b"\x15", b"")
    assert time.monotonic() - began < 4
    daemon.expect_one_record(reason="inspect-timeout")


def test_it_starts_and_refuses_without_dns(start_daemon, client, lab):
    """With no DNS server at all it starts, refuses what is refused at once, and serves when DNS comes back."""
    with lab.silenced(DNS_ADDRESS):
        daemon = start_daemon()
        assert client.curl("http://example.com/").status == 403
        assert client.curl("http://first.allowed.example/").status == 504
        daemon.wait_record(fqdn="first.allowed.example", reason="resolve-timeout")
    wait_for(lambda: client.curl("http://first.allowed.example/").status == 200, "answer after DNS came back", timeout=20)


def test_known_names_work_while_dns_is_down(daemon, client, lab):
    """Cached answers carry on."""
    for _ in range(8):  # until every worker has the answer
        assert client.curl("http://first.allowed.example/").status == 200
    with lab.silenced(DNS_ADDRESS):
        assert [client.curl("http://first.allowed.example/").status for _ in range(4)].count(200) >= 3


@pytest.mark.parametrize("handler", (close_at_once, reset_at_once), ids=("closes", "resets"))
def test_an_origin_that_drops_everybody(daemon, client, lab, handler):
    """A cleartext client reads 502, a TLS client an end; nothing hangs."""
    with Origin(lab, handler, port=80), Origin(lab, handler):
        assert client.curl("http://odd.allowed.example/").status == 502
        with client.connect(ODD_NAME) as connection:
            connection.sendall(hello(ODD_NAME))
            read_all(connection)
    daemon.expect_one_record(fqdn=ODD_NAME, protocol="http")
    daemon.expect_one_record(fqdn=ODD_NAME, protocol="https")


def test_a_dead_address_gives_way_to_a_live_one(daemon, client, lab):
    """When the IPv6 address of a name is silent, the IPv4 one is tried soon after (RFC 8305)."""
    with lab.silenced(lab.zone.v6("second.allowed.example")):
        began = time.monotonic()
        answer = client.curl("-x", "http://198.18.1.1:3128", "https://second.allowed.example/")
        assert answer.status == 200, answer
        assert 0.2 < time.monotonic() - began < 2
    assert daemon.expect_one_record(fqdn="second.allowed.example")["snat_ip"] in POOL_V4


def test_a_pool_address_that_is_not_there_is_said_and_left_out(start_daemon, client):
    """A configured address on no interface: a warning names it, connections use the others."""
    daemon = start_daemon(lambda config: config["snat_pools"][0].update(addresses=["198.18.2.99", POOL_V4[0]], selection="round_robin"))
    assert "198.18.2.99" in daemon.log()
    for _ in range(4):
        assert client.curl("https://first.allowed.example/").peer == POOL_V4[0]


SENT = 400


def refused(client):
    with client.connect("example.com", 80) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert http_response(connection)[0] == 403


def test_a_full_disk_costs_records_and_says_how_many(start_daemon, client, lab):
    """Connections go on while the record file's disk is full; when there is room the next record says what was lost."""
    disk = lab.mount_tmpfs("small-disk", "64k")
    ballast = disk / "ballast"

    def change(config):
        config["logging"][0].update(path=str(disk / "decisions.json"), queue=64)

    daemon = start_daemon(change)
    try:
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * 4096)
        for _ in range(SENT):
            refused(client)
        log = daemon.wait_log("No space left on device")
        assert log.count("No space left on device") < 10
        ballast.unlink()
        extra = 0
        while not any("lost" in record for record in daemon.records()):
            refused(client)
            extra += 1

        def whole():
            records = daemon.records()
            alarms = sum(record.get("reason") == "records-lost" for record in records)
            # An alarm about what is lost may be lost itself.
            return sum(1 + record.get("lost", 0) for record in records) - alarms in (SENT + extra, SENT + extra + 1)
        wait_for(whole, "whole count", timeout=20)
    finally:
        daemon.check_and_stop()


def test_no_descriptors_is_survived(start_daemon, client, lab):
    """With the descriptor limit cut to what is open, clients are reset and recorded; with the old limit all is well."""
    daemon = start_daemon(lambda config: config.update(workers=1))  # a second could take the first one's spare descriptor
    daemon.use_up_descriptors()
    try:
        for _ in range(5):
            assert ends_unanswered(lambda: client.connect("first.allowed.example"))
        wait_for(lambda: len(daemon.matching(reason="no-resources")) == 5, "five records")
    finally:
        daemon.restore_descriptors()
    assert client.curl("https://first.allowed.example/").status == 200


def test_a_mixed_crowd_leaves_no_descriptor(daemon, client, lab):
    """Hundreds of connections that end in every way there is: afterwards as many descriptors are open as before."""
    def refused():
        with client.connect("example.com") as connection:
            connection.sendall(hello("example.com"))
            read_all(connection)

    def gone():
        client.connect("first.allowed.example").close()

    def half_and_reset():
        connection = client.connect("first.allowed.example")
        connection.sendall(hello("first.allowed.example")[:100])
        reset(connection)

    def relayed_and_reset():
        connection = client.connect(ODD_NAME)
        connection.sendall(hello(ODD_NAME))
        reset(connection)

    def request():
        with client.connect("first.allowed.example", 80) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
            assert http_response(connection)[0] == 200

    def tunnel_without_hello():
        with client.proxy() as connection:
            connection.sendall(b"CONNECT first.allowed.example:443 HTTP/1.1\r\nHost: first.allowed.example:443\r\n\r\n")
            connection.recv(100)

    ways = (refused, gone, half_and_reset, relayed_and_reset, request, tunnel_without_hello)
    with Origin(lab, keep_open):
        for _ in range(50):
            for way in ways:
                way()
    wait_for(lambda: len(daemon.records()) >= 50 * len(ways), f"{50 * len(ways)} records")
    assert len(daemon.records()) == 50 * len(ways)
    daemon.check_descriptors()


def test_a_client_that_does_not_read_stops_its_origin(daemon, client, lab):
    """Back-pressure: a client that reads nothing of 64 MiB costs the daemon next to no memory."""
    before = resident_kib(daemon)
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(10):
            connection = stack.enter_context(client.connect("first.allowed.example", 80))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /file/big HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
            connections.append(connection)
        for connection in connections:
            assert connection.recv(1) == b"H"
        for _ in range(4):  # other work goes on meanwhile
            assert client.curl("https://second.allowed.example/").status == 200
        assert resident_kib(daemon) - before < 20000
        for connection in connections:
            reset(connection)


def send_and_end(connection, data):
    """Sends and reads to the end; the other side may have ended it before."""
    with contextlib.suppress(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)


def test_junk_at_every_door(daemon, client, lab):
    """Bytes that mean nothing end their connection and nothing else."""
    for junk in (b"\x00" * 100, b"\x16\x03\x01\x00\x00", b"\xff" * 5000, b"GET\x00/ HTTP/1.1\r\n\r\n", b"\r\n\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        for port in (443, 80):
            with client.connect("first.allowed.example", port) as connection:
                send_and_end(connection, junk)
        with client.proxy() as connection:
            send_and_end(connection, junk)
    wait_for(lambda: len(daemon.records()) >= 18, "18 records")
    assert [record["action"] for record in daemon.records()] == ["deny"] * 18
    assert client.curl("https://first.allowed.example/").status == 200


def test_policy_routing_that_another_program_removes_comes_back(daemon, client, lab):
    """As after a restart of systemd-networkd, which removes rules that are not its own: both families are served again."""
    for family in ("-4", "-6"):
        lab.nva.run("ip", family, "rule", "del", "lookup", "27751", check=True)
        lab.nva.run("ip", family, "route", "flush", "table", "27751", check=True)
    daemon.wait_log("policy routing: put it back")
    for family in ("-4", "-6"):
        assert client.curl(family, "https://first.allowed.example/").status == 200
