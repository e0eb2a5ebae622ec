"""Records of flows that the kernel forwarded: one for each, when it has ended; and what a stricter policy does to those that run."""

import errno

import pytest

from clients import read_until
from lab import POOL_V4, POOL_V6, wait_for
from learned import learned
from network_origins import ECHO, ECHO_V6, UdpClient, UdpEcho, ask
from odd_origins import Origin, speak_first

ECHO_OF = {4: ECHO, 6: ECHO_V6}
SPOKE = {4: "198.18.1.10", 6: "2001:db8:1::10"}
POOL = {4: POOL_V4, 6: POOL_V6}
IP_AND_UDP = {4: 20 + 8, 6: 40 + 8}  # bytes of headers
FAMILIES = pytest.mark.parametrize("family", (4, 6))


def allow(*rules, **changes):
    """A change of the configuration: more rules for the first cluster, and other values for its keys."""
    def change(config):
        config["clusters"][0]["allow"] += rules
        config["clusters"][0].update(changes)
    return change


def forget(lab, protocol, port, family=4):
    """Has conntrack end the flows to a port, as their timeout would."""
    lab.nva.run("conntrack", "-D", "-f", f"ipv{family}", "-p", protocol, "--dport", port, check=True)


def check(record, **fields):
    """What every record of a flow says, and these fields."""
    fields = {"event": "flow", "listener": "forward", "action": "allow", "reason": "completed", "cluster": "prod-weu", **fields}
    assert {name: record.get(name) for name in fields} == fields, record
    assert record["original_ip"] == record["destination_ip"]
    assert len(record["connection_id"]) == 8


@FAMILIES
def test_a_connection_by_name(start_daemon, lab, family):
    """The record has the rule's name, the source that the origin saw, and the bytes of both directions."""
    daemon = start_daemon(allow("tcp echo.example:9000"))
    wait_for(lambda: ECHO_OF[family] in learned(lab, "tcp.9000", family), "learned address")
    sent = bytes(100000) + b"the end"
    with Origin(lab, speak_first(b"220 ready\r\n"), ECHO_OF[family], 9000) as origin:
        with lab.spoke.connect(ECHO_OF[family], 9000) as connection:
            connection.sendall(sent)
            read_until(connection, b"the end")
            port = connection.getsockname()[1]
        address, source_port = origin.peers[0]
    forget(lab, "tcp", 9000, family)
    record = daemon.expect_one_record(event="flow")
    check(record, protocol="tcp", client_ip=SPOKE[family], client_port=port, fqdn="echo.example", destination_ip=ECHO_OF[family],
          destination_port=9000, snat_ip=address, snat_port=source_port, feature="allow")
    assert record["rule"].startswith(f"{daemon.path.name}:") and address in POOL[family]
    for direction in ("bytes_out", "bytes_in"):
        assert len(sent) < record[direction] < 2 * len(sent), record
    assert 0 <= record["duration_ms"] < 60000


@FAMILIES
def test_datagrams_by_prefix_are_counted_to_the_byte(start_daemon, lab, family):
    """Three packets there and back, headers included."""
    daemon = start_daemon(allow(f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000"))
    with UdpEcho(lab, ECHO_OF[family]) as echo, UdpClient(lab.spoke, ECHO_OF[family]) as client:
        for _ in range(3):
            client.ask()
        forget(lab, "udp", 5000, family)
        record = daemon.expect_one_record(event="flow")
        check(record, protocol="udp", client_port=client.socket.getsockname()[1], destination_port=5000, fqdn=None, feature="allow",
              bytes_out=3 * (IP_AND_UDP[family] + len(b"packet 1")), bytes_in=3 * (IP_AND_UDP[family] + len(b"packet 1")))
        assert (record["snat_ip"], record["snat_port"]) == echo.peers[0]


def test_audited_flows_say_what_they_would_be_refused_for(start_daemon, lab):
    """In audit mode a flow has one record, when it has ended: `audit`, with the reason; its packets have none."""
    deny = f"udp [{ECHO}]:5001"
    daemon = start_daemon(allow(mode="audit", deny=[deny]))
    with UdpEcho(lab), UdpEcho(lab, ECHO, 5001):
        for port, reason, feature in ((5000, "no-network-rule", None), (5001, "deny-rule", "deny")):
            ask(lab.spoke, ECHO, port)
            ask(lab.spoke, ECHO, port)
            forget(lab, "udp", port)
            wait_for(lambda port=port: len(daemon.matching(event="flow", destination_port=port)) == 2, "records")
            for record in daemon.matching(destination_port=port):
                check(record, action="audit", reason=reason, destination_ip=ECHO, feature=feature)


def test_every_flow_has_one_record(start_daemon, lab):
    """Some 200 flows (a port may come again) that end at the same moment: as many records, each with its client's port."""
    daemon = start_daemon(allow(f"udp [{ECHO}]:5000"))
    ports = set()
    with UdpEcho(lab):
        for _ in range(200):
            with UdpClient(lab.spoke, ECHO) as client:
                client.ask()
                ports.add(client.socket.getsockname()[1])
        forget(lab, "udp", 5000)
        wait_for(lambda: len(daemon.matching(event="flow")) >= len(ports), "records of flows")
    assert sorted(record["client_port"] for record in daemon.matching(event="flow")) == sorted(ports)


def test_refused_packets_are_no_flows(daemon, lab):
    """A packet that was refused has the packet's record alone."""
    with pytest.raises(OSError):
        ask(lab.spoke, ECHO)
    daemon.wait_record(event="packet")
    daemon.check_and_stop()
    assert daemon.matching(event="flow") == []


@FAMILIES
@pytest.mark.parametrize("on_change", ("close", "log", "keep"))
def test_running_flows_follow_a_stricter_policy(start_daemon, lab, family, on_change):
    """on_policy_change ends flows that are no longer allowed, says so, or lets them be; flows that are allowed go on."""
    rules = [f"udp [{ECHO}]:5000", f"udp [{ECHO_V6}]:5000"]
    daemon = start_daemon(lambda config: (allow(*rules, f"udp [{ECHO_OF[family]}]:5001")(config), config.update(on_policy_change=on_change)))
    with UdpEcho(lab, ECHO_OF[family]), UdpEcho(lab, ECHO_OF[family], 5001), \
            UdpClient(lab.spoke, ECHO_OF[family]) as refused, UdpClient(lab.spoke, ECHO_OF[family], 5001) as allowed:
        refused.ask()
        allowed.ask()
        daemon.config["clusters"][0]["allow"] = [rule for rule in daemon.config["clusters"][0]["allow"] if rule not in rules]
        daemon.reload()
        allowed.ask()
        if on_change == "close":
            with pytest.raises(OSError) as raised:
                refused.ask()
            assert raised.value.errno in (errno.EHOSTUNREACH, errno.EACCES)
            check(daemon.expect_one_record(event="flow"), reason="policy-changed", destination_port=5000)
        else:
            refused.ask()
            assert daemon.matching(event="flow") == []
        said = {"close": "1 forwarded flows are no longer allowed, ended", "log": "1 forwarded flows are no longer allowed, kept", "keep": ""}
        assert said[on_change] in daemon.log()
        assert ("no longer allowed" in daemon.log()) == (on_change != "keep")
