"""Source addresses of forwarded flows: sticky, round robin, following the network interface."""

import collections
import contextlib
import errno

import pytest

from lab import POOL_V4, POOL_V6, wait_for
from network_origins import ECHO, ECHO_V6, OTHER_ECHO, UdpClient, UdpEcho, ask

POOL = {4: POOL_V4, 6: POOL_V6}
ECHO_OF = {4: ECHO, 6: ECHO_V6}
FAMILIES = pytest.mark.parametrize("family", (4, 6))
RULES = [f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000", f"udp [{OTHER_ECHO}]:5000"]


def pool(*addresses, selection="sticky"):
    """A change of the configuration: the pool, and rules for the echo servers."""
    def change(config):
        config["snat_pools"] = [{"name": "main", "addresses": list(addresses), "selection": selection}]
        config["clusters"][0]["allow"] += RULES
    return change


def sources(lab, family, flows, source=None, address=None):
    """The addresses that an echo server sees of so many new flows."""
    with UdpEcho(lab, address or ECHO_OF[family]) as echo:
        for _ in range(flows):
            ask(lab.spoke, address or ECHO_OF[family], source=source)
    return [address for address, _ in echo.peers]


@FAMILIES
def test_sticky_keeps_a_client_on_one_address(start_daemon, lab, family):
    """All flows of a client come from one pool address, whatever their destination; clients are spread."""
    start_daemon(pool(f"{POOL_V4[0]}-{POOL_V4[-1]}", f"{POOL_V6[0]}-{POOL_V6[-1]}"))
    seen = set(sources(lab, family, 8))
    assert len(seen) == 1 and seen < set(POOL[family])
    if family == 4:
        assert set(sources(lab, 4, 2, address=OTHER_ECHO)) == seen
        assert len({sources(lab, 4, 1, source=f"198.18.1.{number}")[0] for number in (10, 11, 12)}) > 1


@FAMILIES
@pytest.mark.parametrize("selection", ("round_robin", "least_used"))
def test_round_robin_uses_each_address_in_turn(start_daemon, lab, family, selection):
    """Twelve flows: each of six addresses twice; least_used does the same in the kernel."""
    start_daemon(pool(f"{POOL_V4[0]}-{POOL_V4[-1]}", f"{POOL_V6[0]}-{POOL_V6[-1]}", selection=selection))
    assert collections.Counter(sources(lab, family, 12)) == {address: 2 for address in POOL[family]}


@contextlib.contextmanager
def removed(lab, *addresses):
    """Pool addresses that are not on the NIC meanwhile."""
    lengths = {address: "64 nodad" if ":" in address else "24" for address in addresses}
    lab.nva.batch("\n".join(f"address delete {address}/{length.split()[0]} dev internet0" for address, length in lengths.items()))
    try:
        yield
    finally:
        lab.nva.batch("\n".join(f"address add {address}/{length} dev internet0" for address, length in lengths.items()))


def source_rules(lab):
    return lab.nva.run("nft", "list", "chain", "inet", "aksegressd", "source_nat", check=True).stdout


@FAMILIES
def test_an_address_that_leaves_the_nic_leaves_the_rotation(start_daemon, lab, family):
    """Its flows go to the others, and it comes back with the address; flows of other addresses go on meanwhile."""
    first, second = POOL[family][:2]
    start_daemon(pool(*POOL_V4[:2], *POOL_V6[:2], selection="round_robin"))
    with UdpEcho(lab, ECHO_OF[family]) as echo, UdpClient(lab.spoke, ECHO_OF[family]) as one, UdpClient(lab.spoke, ECHO_OF[family]) as two:
        one.ask()
        two.ask()
        staying = one if echo.peers[0][0] == second else two
        with removed(lab, first):
            wait_for(lambda: first not in source_rules(lab), "rules without the address")
            assert set(sources_of_running(lab, echo, family, 4)) == {second}
            staying.ask()
        wait_for(lambda: first in source_rules(lab), "rules with the address")
        assert set(sources_of_running(lab, echo, family, 4)) == {first, second}


def sources_of_running(lab, echo, family, flows):
    """The same as sources() at an echo server that runs."""
    before = len(echo.peers)
    for _ in range(flows):
        ask(lab.spoke, ECHO_OF[family])
    return [address for address, _ in echo.peers[before:]]


@FAMILIES
def test_a_pool_without_an_address_of_the_family_refuses(start_daemon, lab, family):
    """Nothing leaves from an address that is not the pool's: the other family's flows are refused before they begin."""
    start_daemon(pool(*{4: POOL_V6, 6: POOL_V4}[family]))
    with UdpEcho(lab, ECHO_OF[family]) as echo:
        with pytest.raises(OSError) as raised:
            ask(lab.spoke, ECHO_OF[family])
    assert (raised.value.errno, echo.peers) == ({4: errno.EHOSTUNREACH, 6: errno.EACCES}[family], [])
    assert set(sources(lab, 10 - family, 1)) <= set(POOL[10 - family])


def test_all_addresses_gone_refuses_until_one_is_back(start_daemon, lab):
    """A flow that began goes on being translated or stops; none leaves from the client's own address (the lab counts those)."""
    start_daemon(pool(*POOL_V4[:2]))
    with UdpEcho(lab) as echo:
        with removed(lab, *POOL_V4[:2]):
            wait_for(lambda: "snat ip to" not in source_rules(lab), "rules without addresses")
            with pytest.raises(OSError) as raised:
                ask(lab.spoke, ECHO)
            assert (raised.value.errno, echo.peers) == (errno.EHOSTUNREACH, [])
        wait_for(lambda: "snat ip to" in source_rules(lab), "rules with addresses")
        ask(lab.spoke, ECHO)


def test_each_cluster_has_its_own_pool(start_daemon, lab):
    """Flows of two clusters to one server come from the pools of each."""
    def change(config):
        config["snat_pools"] = [{"name": "main", "addresses": ["198.18.2.10-198.18.2.12"]}, {"name": "second", "addresses": ["198.18.2.15"]}]
        config["clusters"][0]["allow"] += RULES
        config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope",
                                   "snat_pool": "second", "allow": RULES})

    start_daemon(change)
    with UdpEcho(lab) as echo:
        ask(lab.spoke, ECHO)
        ask(lab.dev, ECHO)
    assert echo.peers[0][0] in POOL_V4[:3]
    assert echo.peers[1][0] == "198.18.2.15"


@FAMILIES
def test_clients_with_one_source_port_share_a_pool_address(start_daemon, lab, family):
    """Three clients of the same port to the same server from one address: each has a port of its own outside, and its own answers."""
    pool_address, prefix = {4: (POOL_V4[0], "198.18.1.1"), 6: (POOL_V6[0], "2001:db8:1::1")}[family]
    start_daemon(pool(pool_address))
    with contextlib.ExitStack() as stack:
        if family == 6:
            for number in (1, 2):
                lab.spoke.batch(f"address add {prefix}{number}/64 dev eth0 nodad")
                stack.callback(lab.spoke.batch, f"address delete {prefix}{number}/64 dev eth0")
        echo = stack.enter_context(UdpEcho(lab, ECHO_OF[family]))
        clients = [stack.enter_context(UdpClient(lab.spoke, ECHO_OF[family], source=f"{prefix}{number}", source_port=40000))
                   for number in range(3)]
        for number, client in enumerate(clients):
            client.number = 100 * number  # no two packets are the same
        for _ in range(3):
            for client in clients:
                client.ask()
    assert {address for address, _ in echo.peers} == {pool_address}
    assert len({port for _, port in echo.peers}) == 3
    assert echo.peers[:3] == echo.peers[3:6] == echo.peers[6:], "a client's flow changed its port"
