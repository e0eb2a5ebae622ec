"""Names in network rules: how their addresses get into the kernel, stay there and follow DNS."""

import errno

import pytest

from lab import wait_for
from learned import learned
from network_origins import CHANGING_DNS, ECHO, ECHO_V6, OTHER_ECHO, ChangingDns, UdpEcho, ask
from origins import DNS_ADDRESS

API_SERVER = "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io"
KEPT_S = 15 * 60
OTHER_DNS = "203.0.113.55"


def rules(*lines, servers=(DNS_ADDRESS,), forward_zones=None, **changes):
    """A change of the configuration: more rules for the first cluster, and who is asked for names."""
    def change(config):
        config["clusters"][0]["allow"] += lines
        config["clusters"][0].update(changes)
        config["resolver"] = {"servers": list(servers), "forward_zones": forward_zones or {}}
    return change


def wait_learned(lab, service, *addresses, family=4, timeout=10):
    """Waits until the kernel has these addresses in the set, then returns all of it."""
    wait_for(lambda: set(addresses) <= set(learned(lab, service, family)), f"{addresses} in the set of {service}", timeout)
    return learned(lab, service, family)


def refused(lab, address, port=5000):
    with pytest.raises(OSError) as raised:
        ask(lab.spoke, address, port)
    return raised.value.errno


def test_names_of_steered_ports_do_not_keep_others_out(start_daemon, lab):
    """The API server's name has no set in the kernel (port 443 is the proxy's): other names are learned, reloads work."""
    daemon = start_daemon(rules("udp echo.example:5000"))
    with UdpEcho(lab):
        wait_learned(lab, "udp.5000", ECHO)
        ask(lab.spoke, ECHO)
        daemon.reload()
        assert "keeping the running configuration" not in daemon.log()
        ask(lab.spoke, ECHO)
    assert "learned addresses:" not in daemon.log()


def test_an_address_stays_for_15_minutes_and_is_labelled(start_daemon, lab):
    """Both families' addresses get a timeout of the TTL and at least 15 minutes, and the name as comment."""
    start_daemon(rules("udp echo.example:5000"))
    for family, address in ((4, ECHO), (6, ECHO_V6)):
        element = wait_learned(lab, "udp.5000", address, family=family)[address]
        assert element.name == "echo.example"
        assert element.timeout_s >= KEPT_S + 30


def test_a_name_is_learned_for_the_clusters_whose_rule_it_is(start_daemon, lab):
    """Two clusters with different names: each has its own addresses, and one name of both is in both."""
    def change(config):
        rules("udp echo.example:5000", "udp ntp.ubuntu.com:5000")(config)
        config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope",
                                   "snat_pool": "main", "allow": ["udp other-echo.example:5000", "udp ntp.ubuntu.com:5000"]})

    start_daemon(change)
    ntp = lab.zone.v4("ntp.ubuntu.com")
    wait_learned(lab, "udp.5000", ECHO, ntp)
    wait_for(lambda: set(learned(lab, "udp.5000", cluster="dev-weu")) == {OTHER_ECHO, ntp}, "addresses of dev-weu")
    assert set(learned(lab, "udp.5000")) == {ECHO, ntp}


def test_forbidden_addresses_never_enter_a_set(start_daemon, lab):
    """Of names that lead to private, loopback and platform addresses the kernel learns the public ones only."""
    names = {"mixed.example": ["10.20.30.40", "168.63.129.16", "169.254.169.254", "127.0.0.1", ECHO,
                               "fd00:20::40", "64:ff9b::a83f:8110", "2002:a83f:8110::1", "::ffff:168.63.129.16", ECHO_V6]}
    with ChangingDns(lab, names):
        start_daemon(rules("udp mixed.example:1-65535", servers=[CHANGING_DNS]))
        assert set(wait_learned(lab, "udp.1-65535", ECHO)) == {ECHO}
        assert set(wait_learned(lab, "udp.1-65535", ECHO_V6, family=6)) == {ECHO_V6}


def test_a_private_address_enters_once_it_is_listed(start_daemon, lab):
    """private_destinations lets a name's private address in, but no platform address."""
    with ChangingDns(lab, {"mixed.example": ["10.20.30.40", "168.63.129.16", ECHO]}):
        start_daemon(rules("udp mixed.example:5000", servers=[CHANGING_DNS], private_destinations=["10.20.0.0/16"]))
        assert set(wait_learned(lab, "udp.5000", "10.20.30.40", ECHO)) == {"10.20.30.40", ECHO}


def test_names_follow_dns(start_daemon, lab):
    """Within one round of questions (15 s, however short the TTL): a name that moved has both addresses, one whose DNS was down at
    the start is learned, one whose DNS fails keeps what it had, and one that is gone too."""
    gone, failing, late, moved = ECHO, OTHER_ECHO, "203.0.113.230", "203.0.113.231"
    names = {"moves.example": [ECHO], "fails.example": [failing], "gone.example": [gone], API_SERVER: [lab.zone.v4(API_SERVER)]}
    with ChangingDns(lab, names) as dns, UdpEcho(lab, late), UdpEcho(lab, moved), UdpEcho(lab, failing), UdpEcho(lab, gone):
        daemon = start_daemon(rules("udp moves.example:5000", "udp fails.example:5000", "udp gone.example:5000", "udp late.example:5000",
                                    servers=[CHANGING_DNS], forward_zones={"late.example": [OTHER_DNS]}))
        daemon.wait_log("'late.example', of a network rule, cannot be resolved")
        wait_learned(lab, "udp.5000", ECHO, failing)
        for address in (moved, late):
            assert refused(lab, address) == errno.EHOSTUNREACH
        dns.names.update({"moves.example": [moved], "fails.example": None})
        del dns.names["gone.example"]
        with ChangingDns(lab, {"late.example": [late]}, OTHER_DNS):
            known = wait_learned(lab, "udp.5000", moved, late, timeout=20)
        daemon.wait_log("'fails.example', of a network rule, cannot be resolved: what is known of it stays")
        daemon.wait_log("'late.example' is resolved again")
        assert set(known) == {ECHO, failing, moved, late}
        for address in known:
            assert known[address].timeout_s >= KEPT_S
            ask(lab.spoke, address)
        assert dns.asked.count("moves.example") <= 4, "asked more often than every 15 s"


def test_a_reload_learns_known_addresses_for_new_rules_at_once(start_daemon, lab):
    """Another cluster's rule about a known name, another port of it and a newly listed private address wait for no next answer."""
    names = {"kept.example": [ECHO, "10.20.30.40"], API_SERVER: [lab.zone.v4(API_SERVER)]}
    with ChangingDns(lab, names, ttl_s=3600) as dns:
        daemon = start_daemon(rules("udp kept.example:5000", servers=[CHANGING_DNS]))
        wait_learned(lab, "udp.5000", ECHO)
        asked = dns.asked.count("kept.example")
        daemon.config["clusters"][0]["allow"].append("udp kept.example:5001")
        daemon.config["clusters"][0]["private_destinations"] = ["10.20.0.0/16"]
        daemon.config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud",
                                          "location": "westeurope", "snat_pool": "main", "allow": ["udp kept.example:5000"]})
        daemon.reload()
        for service in ("udp.5000", "udp.5001"):
            wait_learned(lab, service, ECHO, "10.20.30.40")
        wait_for(lambda: set(learned(lab, "udp.5000", cluster="dev-weu")) == {ECHO}, "the address for dev-weu")
        assert dns.asked.count("kept.example") == asked
