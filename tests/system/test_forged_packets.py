"""Packets that no honest client sends: nothing of them gets out, and nobody is answered in somebody else's place."""

import pytest

from capture import Capture, SPOKE_SOURCES
from crafted import Wire, icmp, ip, tcp, udp
from network_origins import ECHO, ECHO_V6

SYN, ACK = 0x02, 0x10
SPOKE = {4: "198.18.1.10", 6: "2001:db8:1::10"}
SERVER = {4: ECHO, 6: ECHO_V6}
BYSTANDER = {4: "203.0.113.66", 6: "2001:db8:f::66"}
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def rules(mode):
    def change(config):
        config["clusters"][0]["mode"] = mode
        config["clusters"][0]["allow"] += [f"udp [{ECHO},{ECHO_V6}]:5000", f"tcp [{ECHO},{ECHO_V6}]:9000"]
    return change


def wait_until_judged(daemon, wire, family):
    """The packets that were sent before have been judged when one behind them has its record (audit forbids it, too)."""
    private = {4: "10.77.77.77", 6: "fd00:77::77"}[family]
    wire.send(udp(SPOKE[family], private, 4999, 4999))
    daemon.wait_record(original_ip=private)


@FAMILIES
@pytest.mark.parametrize("mode", ["enforce", "audit"])
def test_what_has_no_conntrack_entry_does_not_leave(start_daemon, lab, mode, family):
    """Wrong checksums and lengths: such a packet can have neither a mark nor a source address of the pool."""
    daemon = start_daemon(rules(mode))
    source, server = SPOKE[family], SERVER[family]
    packets = [
        udp(source, server, 30001, 5000, damaged=True), udp(source, server, 30002, 5000, length=4),
        udp(source, server, 30003, 5000, length=400), ip(source, server, 17, b"\x75\x30\x13\x88"),
        tcp(source, server, 30004, 9000, SYN, damaged=True), tcp(source, server, 30005, 9000, SYN, words=1),
        tcp(source, server, 30006, 9000, SYN, words=15), udp(source, server, 30007, 6666, damaged=True),
        tcp(source, server, 30008, 7777, SYN, damaged=True), icmp(source, server, 42 if family == 4 else 200, 0),
        icmp(source, server, 0 if family == 4 else 129, 0), icmp(source, server, 135 if family == 6 else 13, 0),
    ]
    with Capture(lab, lab.nva, "internet0", SPOKE_SOURCES) as capture, Wire(lab, lab.spoke, "spoke0") as wire:
        for packet in packets:
            wire.send(packet)
        wait_until_judged(daemon, wire, family)
        assert capture.packets() == []
    assert daemon.wait_record(reason="no-flow", destination_port=5000)["client_ip"] == source


@FAMILIES
def test_a_forged_source_is_not_answered(start_daemon, lab, family):
    """An answer to an address that is not where the packet came from would carry what it quotes to a third party."""
    daemon = start_daemon(rules("enforce"))
    forged, server = BYSTANDER[family], SERVER[family]
    with Capture(lab, lab.internet, "eth0", f"dst host {forged}") as capture, Wire(lab, lab.spoke, "spoke0") as wire:
        for packet in (udp(forged, server, 1, 4242, b"secret" * 50), tcp(forged, server, 2, 2222, SYN),
                       tcp(forged, server, 3, 443, SYN), tcp(forged, server, 4, 2222, ACK)):
            wire.send(packet)
        wait_until_judged(daemon, wire, family)
        assert capture.packets() == []
    assert daemon.wait_record(client_ip=forged, destination_port=4242)["reason"] == "unknown-source"


@FAMILIES
def test_outside_nobody_is_answered_from_a_client_s_address(start_daemon, lab, family):
    """A packet from outside to a client, to a steered port or not: no SYN-ACK, RST or ICMP with the client's address."""
    daemon = start_daemon(rules("enforce"))
    outside, client = BYSTANDER[family], SPOKE[family]
    with Capture(lab, lab.nva, "internet0", SPOKE_SOURCES) as capture, Wire(lab, lab.internet, "internet0") as wire, \
            Wire(lab, lab.spoke, "spoke0") as inside:
        for packet in (tcp(outside, client, 1, 4444, SYN), tcp(outside, client, 2, 443, SYN), tcp(outside, client, 3, 4444, ACK),
                       udp(outside, client, 4, 4444)):
            wire.send(packet)
        daemon.wait_record(client_ip=outside, destination_port=443)
        wait_until_judged(daemon, inside, family)
        assert capture.packets() == []
    assert {record["reason"] for record in daemon.matching(client_ip=outside)} == {"unknown-source"}
