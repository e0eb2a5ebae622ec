"""The kernel's rules beyond the daemon's life: they go on when it is killed, and the next one takes them over."""

import contextlib
import errno
import json
import re
import signal

import pytest

from daemon import BUILD, configuration
from lab import wait_for
from learned import learned
from network_origins import CHANGING_DNS, ECHO, ECHO_V6, OTHER_ECHO, ChangingDns, UdpClient, UdpEcho, ask
from odd_origins import Origin, speak_first

RULES = ["udp echo.example:5000", f"udp [{OTHER_ECHO}]:5000", "tcp echo.example:9000"]
COUNTERS = re.compile(r"counter packets \d+ bytes \d+")
REMAINING = re.compile(r" expires \w+")


def with_rules(config):
    config["clusters"][0]["allow"] += RULES


def kill(daemon):
    """The end without any chance to clean up."""
    daemon.send(signal.SIGKILL)
    daemon.stop()
    daemon.finished = True


def table(lab, namespace=None):
    """The daemon's table as nft lists it, without what counts and runs out."""
    listing = (namespace or lab.nva).run("nft", "list", "table", "inet", "aksegressd", check=True).stdout
    return REMAINING.sub("", COUNTERS.sub("counter", listing))


def set_names(lab):
    return set(re.findall(r"(?:set|map) (\S+) {", table(lab)))


def test_running_flows_outlive_a_killed_daemon(start_daemon, lab):
    """After kill -9 allowed flows go on and new ones begin, what is refused stays so, and the next daemon changes none of it."""
    daemon = start_daemon(with_rules)
    with contextlib.ExitStack() as stack:
        for address in (ECHO, ECHO_V6):
            stack.enter_context(UdpEcho(lab, address))
            stack.enter_context(Origin(lab, speak_first(b"220 ready\r\n"), address, 9000))
            wait_for(lambda address=address: address in learned(lab, "udp.5000", 6 if ":" in address else 4), "learned address")
            wait_for(lambda address=address: address in learned(lab, "tcp.9000", 6 if ":" in address else 4), "learned address")
        datagrams = [stack.enter_context(UdpClient(lab.spoke, address)) for address in (ECHO, ECHO_V6)]
        streams = [stack.enter_context(lab.spoke.connect(address, 9000)) for address in (ECHO, ECHO_V6)]

        def all_go_on():
            for client in datagrams:
                client.ask()
            for stream in streams:
                stream.sendall(b"still here")
                wait_for(lambda stream=stream: b"still here" in stream.recv(100), "echo")

        all_go_on()
        kill(daemon)
        all_go_on()
        ask(lab.spoke, ECHO)
        with pytest.raises(OSError) as raised:
            ask(lab.spoke, ECHO, 5001)
        assert raised.value.errno == errno.EHOSTUNREACH
        start_daemon(with_rules)
        all_go_on()


def test_learned_addresses_are_taken_over(start_daemon, lab):
    """With DNS gone the next daemon still has what the killed one learned: address, name and at least the time that was left."""
    daemon = start_daemon(with_rules)
    wait_for(lambda: ECHO in learned(lab, "udp.5000") and ECHO_V6 in learned(lab, "udp.5000", 6), "learned addresses")
    kill(daemon)

    def without_dns(config):
        with_rules(config)
        config["resolver"] = {"servers": [CHANGING_DNS]}

    start_daemon(without_dns)
    for family, address in ((4, ECHO), (6, ECHO_V6)):
        element = learned(lab, "udp.5000", family)[address]
        assert element.name == "echo.example"
        assert element.timeout_s > 15 * 60
    with UdpEcho(lab):
        ask(lab.spoke, ECHO)


def test_learned_addresses_survive_reloads(start_daemon, lab):
    """Another port for the name keeps what is known and has it too, though DNS does not answer any more."""
    with ChangingDns(lab, {"echo.example": [ECHO]}, ttl_s=600):
        daemon = start_daemon(lambda config: (with_rules(config), config.update(resolver={"servers": [CHANGING_DNS]})))
        wait_for(lambda: ECHO in learned(lab, "udp.5000"), "learned address")
    daemon.config["clusters"][0]["allow"].append("udp echo.example:5001")
    daemon.reload()
    assert learned(lab, "udp.5000")[ECHO].name == "echo.example"
    with UdpEcho(lab, ECHO, 5001):
        ask(lab.spoke, ECHO, 5001)


def test_sets_that_no_rule_needs_go(start_daemon, lab):
    """A killed daemon's sets and chains of a cluster and rules that the next one does not have are gone."""
    def change(config):
        with_rules(config)
        config["clusters"].append({"name": "gone-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope",
                                   "snat_pool": "main", "allow": ["udp other-echo.example:6000", "tcp [203.0.113.0/24]:6000"]})

    daemon = start_daemon(change)
    assert any("gone-weu" in name for name in set_names(lab))
    kill(daemon)
    start_daemon(with_rules)
    assert "gone-weu" not in table(lab)
    assert {"learned.udp.5000.prod-weu.v4", "allow.udp.5000.prod-weu.v4"} <= set_names(lab)


def test_a_table_of_another_version_is_replaced(start_daemon, lab):
    """What is in the way of the new table, as sets of another kind would be, is replaced with it in one step."""
    kill(start_daemon(with_rules))
    lab.nva.nft("""
delete table inet aksegressd
table inet aksegressd {
        set steered_ports { type ipv4_addr; flags timeout; }
        map clusters.v4 { type inet_service : verdict; }
        chain prerouting { type filter hook prerouting priority 0; policy drop; }
}""")
    start_daemon(with_rules)
    wait_for(lambda: ECHO in learned(lab, "udp.5000"), "learned address")
    with UdpEcho(lab):
        ask(lab.spoke, ECHO)


def test_foreign_tables_survive_kill_takeover_and_flush(start_daemon, lab):
    """Tables of others, one of a like name too, are byte by byte what they were."""
    foreign = "table ip aksegressd {\n\tchain mine {\n\t\ttype filter hook forward priority filter + 5; policy accept;\n\t}\n}\n"
    lab.nva.nft(foreign + "table inet somebody_else {\n set s {\n type ipv4_addr\n elements = { 192.0.2.1 }\n }\n}\n")

    def others():
        return [lab.nva.run("nft", "list", "table", *name, check=True).stdout for name in (("ip", "aksegressd"), ("inet", "somebody_else"))]

    before = others()
    try:
        kill(start_daemon(with_rules))
        start_daemon(with_rules).check_and_stop()
        assert lab.nva.run(BUILD / "aksegressctl", "flush").returncode == 0
        assert others() == before
    finally:
        lab.nva.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        lab.nva.nft("delete table ip aksegressd\ndelete table inet somebody_else\n")


def test_print_nft_prints_what_is_applied(start_daemon, lab):
    """Loaded into a namespace without rules, its output lists as the daemon's table does, but for learned addresses."""
    def change(config):
        config["clusters"][0]["allow"] += ["udp [203.0.113.0/25]:5000", "tcp [2001:db8:f::/64]:9000-9100,22", "udp *.wild.example:7000"]
        config["clusters"][0].update(deny=[f"udp [{ECHO}]:5000"], private_destinations=["10.20.0.0/16", "fd00:20::/64"])
        config["clusters"].append({"name": "dev-weu", "sources": ["198.18.1.128/25", "198.18.4.0/24"], "cloud": "AzurePublicCloud",
                                   "location": "westeurope", "snat_pool": "main", "mode": "audit"})
        config["snat_pools"][0]["selection"] = "round_robin"

    config = configuration(lab)
    change(config)
    path = lab.directory / "printed.yaml"
    path.write_text(json.dumps(config))
    printed = lab.stranger.run(BUILD / "aksegressd", "--print-nft", "--config", path, check=True).stdout
    start_daemon(change)
    lab.stranger.nft(printed)
    try:
        elements = re.compile(r"(set learned\.\S+ {[^}]*?)\n\t\telements = {[^}]*}")
        assert elements.sub(r"\1", table(lab, lab.stranger)) == elements.sub(r"\1", table(lab))
    finally:
        lab.stranger.nft("flush ruleset\n")
