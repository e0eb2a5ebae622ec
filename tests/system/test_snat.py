"""The pool of source addresses: which one a connection gets, what happens when its ports are used up."""

import collections
import contextlib

import pytest

from clients import hello, read_all, alert, http_response
from lab import POOL_V4
from odd_origins import ODD, OTHER_ODD, Origin, keep_open

PORTS = 4


@pytest.fixture
def few_ports(lab):
    """Four local ports on the NVA."""
    with lab.nva.entered():
        before = open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii").read()
    lab.nva.sysctl(net__ipv4__ip_local_port_range=f"40000 {40000 + PORTS - 1}")
    yield
    lab.nva.sysctl(net__ipv4__ip_local_port_range=before)


def pool(*addresses, selection="sticky"):
    def change(config):
        config["snat_pools"] = [{"name": "main", "addresses": list(addresses), "selection": selection}]
    return change


class Held:
    """Connections through the daemon that stay open."""

    def __init__(self, client, stack):
        self.client = client
        self.stack = stack

    def open(self, origin, name="odd.allowed.example", source=None):
        """One more; returns the address and port that the origin sees."""
        count = len(origin.peers)
        connection = self.stack.enter_context(self.client.connect(name, source=source))
        connection.sendall(hello(name))
        origin.wait(lambda it: len(it.peers) > count)
        return origin.peers[count]


@pytest.fixture
def held(client):
    """Opens connections that end with the test."""
    with contextlib.ExitStack() as stack:
        yield Held(client, stack)


def test_sticky_keeps_a_client_on_one_address(start_daemon, lab, held):
    """Every connection of one client comes from the same address, and clients are spread."""
    start_daemon(pool(f"{POOL_V4[0]}-{POOL_V4[-1]}"))
    with Origin(lab, keep_open) as origin:
        seen = {source: {held.open(origin, source=source)[0] for _ in range(5)} for source in ("198.18.1.10", "198.18.1.11", "198.18.1.12")}
    assert all(len(addresses) == 1 for addresses in seen.values()), seen


def test_round_robin_uses_each_address_in_turn(start_daemon, lab, held):
    """Twelve connections: each of six addresses twice."""
    start_daemon(pool(f"{POOL_V4[0]}-{POOL_V4[-1]}", selection="round_robin"))
    with Origin(lab, keep_open) as origin:
        seen = collections.Counter(held.open(origin)[0] for _ in range(12))
    assert seen == {address: 2 for address in POOL_V4}


def test_least_used_takes_the_address_with_the_fewest(start_daemon, lab, client):
    """Six held connections spread over six addresses; when one ends, the next goes where it was."""
    daemon = start_daemon(pool(f"{POOL_V4[0]}-{POOL_V4[-1]}", selection="least_used"))
    with Origin(lab, keep_open) as origin, contextlib.ExitStack() as stack:
        connections = {}
        for _ in range(6):
            one = contextlib.ExitStack()
            stack.push(one)
            connections[Held(client, one).open(origin)[0]] = one
        assert set(connections) == set(POOL_V4)
        freed = POOL_V4[3]
        index = [peer[0] for peer in origin.peers].index(freed)
        connections[freed].close()
        assert read_all(origin.connections[index])[0]  # the hello, then the end that the daemon passes on
        origin.connections[index].close()
        daemon.wait_record(snat_ip=freed)
        assert Held(client, stack).open(origin)[0] == freed


def test_a_full_address_spills_to_the_next(start_daemon, few_ports, lab, held):
    """With four ports an address takes four connections to one destination; the fifth comes from the next address."""
    daemon = start_daemon(pool(POOL_V4[0], POOL_V4[1]))
    with Origin(lab, keep_open) as origin:
        seen = [held.open(origin) for _ in range(2 * PORTS)]
        assert len(set(seen)) == 2 * PORTS
        assert collections.Counter(address for address, _ in seen) == {POOL_V4[0]: PORTS, POOL_V4[1]: PORTS}
        assert len({address for address, _ in seen[:PORTS]}) == 1, seen
        assert all(40000 <= port < 40000 + PORTS for _, port in seen)
        alarm = daemon.wait_record(event="alarm", reason="snat-nearly-exhausted")
        assert alarm["snat_ip"] in POOL_V4[:2]


def test_a_full_pool_is_a_clear_refusal(start_daemon, few_ports, lab, client, held):
    """When every address is full towards a destination: a TLS alert and a 503, a record each, and other destinations still work."""
    daemon = start_daemon(pool(POOL_V4[0], POOL_V4[1]))
    with Origin(lab, keep_open) as origin, Origin(lab, keep_open, port=80) as web, Origin(lab, keep_open, OTHER_ODD) as other:
        for _ in range(2 * PORTS):
            held.open(origin)
        with client.connect("odd.allowed.example") as connection:
            connection.sendall(hello("odd.allowed.example"))
            assert alert(read_all(connection)[0]) == "internal_error"
        record = daemon.expect_one_record(reason="snat-exhausted", protocol="https")
        assert (record["action"], record["destination_ip"]) == ("deny", ODD)
        for count in range(2 * PORTS):
            connection = held.stack.enter_context(client.connect("odd.allowed.example", 80))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: odd.allowed.example\r\n\r\n")
            web.wait(lambda it, count=count: len(it.peers) > count)
        with client.connect("odd.allowed.example", 80) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: odd.allowed.example\r\n\r\n")
            status, head, _ = http_response(connection)
        assert status == 503
        assert "retry-after" in head.lower()
        daemon.expect_one_record(reason="snat-exhausted", protocol="http")
        assert held.open(other, "other-odd.allowed.example")[0] in POOL_V4[:2]


def test_two_destinations_share_one_port(start_daemon, few_ports, lab, held):
    """Eight connections to two destinations over an address with four ports: each port serves both."""
    start_daemon(pool(POOL_V4[0]))
    with Origin(lab, keep_open) as origin, Origin(lab, keep_open, OTHER_ODD) as other:
        first = {held.open(origin) for _ in range(PORTS)}
        second = {held.open(other, "other-odd.allowed.example") for _ in range(PORTS)}
    assert first == second
    assert len(first) == PORTS


def test_an_address_that_leaves_the_nic_leaves_the_rotation(start_daemon, lab, held):
    """Its connections go to the others without a refusal, and it comes back with the address."""
    start_daemon(pool(POOL_V4[0], POOL_V4[1], selection="round_robin"))
    with Origin(lab, keep_open) as origin:
        lab.nva.batch(f"address delete {POOL_V4[0]}/24 dev internet0")
        try:
            assert {held.open(origin)[0] for _ in range(4)} == {POOL_V4[1]}
        finally:
            lab.nva.batch(f"address add {POOL_V4[0]}/24 dev internet0")
        seen = set()
        while seen != {POOL_V4[0], POOL_V4[1]} and len(origin.peers) < 50:
            seen.add(held.open(origin)[0])
        assert seen == {POOL_V4[0], POOL_V4[1]}
