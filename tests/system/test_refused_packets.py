"""Records of packets that the kernel did not forward: one of each kind at once, the rest counted, QUIC with its server name."""

import re
import signal
import socket

import pytest

from clients import read_until
from lab import wait_for
from network_origins import ECHO, ECHO_V6, UdpClient, UdpEcho
from odd_origins import Origin, speak_first

ECHO_OF = {4: ECHO, 6: ECHO_V6}
SPOKE = {4: "198.18.1.10", 6: "2001:db8:1::10"}
FAMILIES = pytest.mark.parametrize("family", (4, 6))


def send(namespace, address, port, data=b"refused", source=None):
    """One UDP packet; returns the port that it came from, once the refusal is there."""
    with UdpClient(namespace, address, port, source) as client:
        client.socket.send(data)
        with pytest.raises(OSError):
            client.socket.recv(100)
        return client.socket.getsockname()[1]


def check(record, **fields):
    """What every record of a packet says, and these fields."""
    fields = {"event": "packet", "listener": "forward", "action": "deny", "cluster": "prod-weu", **fields}
    assert {name: record.get(name) for name in fields} == fields, record
    assert record["original_ip"] == record["destination_ip"]
    assert not {"snat_ip", "bytes_out", "connection_id", "duration_ms"} & set(record), record


@FAMILIES
def test_a_packet_without_a_rule(daemon, lab, family):
    """UDP and TCP to a port that no rule opens: who, where to, and why."""
    port = send(lab.spoke, ECHO_OF[family], 5000)
    record = daemon.expect_one_record(reason="no-network-rule", protocol="udp")
    check(record, client_ip=SPOKE[family], client_port=port, destination_ip=ECHO_OF[family], destination_port=5000)
    with pytest.raises(ConnectionRefusedError):
        lab.spoke.connect(ECHO_OF[family], 22)
    check(daemon.expect_one_record(reason="no-network-rule", protocol="tcp"), destination_ip=ECHO_OF[family], destination_port=22)


@FAMILIES
def test_a_ping(daemon, lab, family):
    """ICMP of either family is `icmp`, without ports."""
    lab.spoke.run("ping", f"-{family}", "-n", "-c", "1", "-W", "5", ECHO_OF[family])
    record = daemon.expect_one_record(reason="icmp")
    check(record, protocol="icmp", client_ip=SPOKE[family], destination_ip=ECHO_OF[family])
    assert not {"client_port", "destination_port"} & set(record)


@FAMILIES
@pytest.mark.parametrize("port", (53, 853))
def test_dns_of_another_server(daemon, lab, family, port):
    """A query to a server of the client's own choice, in clear or over TLS, is `dns-bypass` and says what to do."""
    send(lab.spoke, ECHO_OF[family], port)
    with pytest.raises(ConnectionRefusedError):
        lab.spoke.connect(ECHO_OF[family], port)
    for protocol in ("udp", "tcp"):
        record = daemon.expect_one_record(reason="dns-bypass", protocol=protocol)
        check(record, destination_port=port, destination_ip=ECHO_OF[family])
        assert f"'{protocol} [{ECHO_OF[family]}]:{port}'" in record["hint"]


def test_a_packet_of_an_unknown_source(daemon, lab):
    """A client in no cluster."""
    send(lab.stranger, ECHO, 5000)
    record = daemon.expect_one_record(reason="unknown-source")
    check(record, cluster=None, client_ip="198.18.3.10", destination_ip=ECHO, destination_port=5000)


def test_a_denied_prefix_names_its_rule(start_daemon, lab):
    """The record of a packet that a deny rule refuses says which."""
    daemon = start_daemon(lambda config: config["clusters"][0].update(deny=[f"udp [{ECHO}]:5000"]))
    send(lab.spoke, ECHO, 5000)
    record = daemon.expect_one_record(reason="deny-rule")
    check(record, feature="deny", destination_ip=ECHO)
    assert record["rule"].startswith(f"{daemon.path.name}:")


def test_a_private_destination_says_where_to_list_it(start_daemon, lab):
    """The hint of forbidden-address names private_destinations."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append("udp [10.0.0.0/8]:5000"))
    send(lab.spoke, "10.20.30.40", 5000)
    record = daemon.expect_one_record(reason="forbidden-address")
    check(record, destination_ip="10.20.30.40")
    assert "private_destinations" in record["hint"]


def test_a_packet_that_belongs_to_no_flow(start_daemon, lab):
    """When conntrack has forgotten an allowed connection, as after a restart of the NVA, it is reset: `no-flow`."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"tcp [{ECHO}]:9000"))
    with Origin(lab, speak_first(b"220 ready\r\n"), ECHO, 9000), lab.spoke.connect(ECHO, 9000) as connection:
        read_until(connection, b"\r\n")
        lab.nva.run("conntrack", "-F", check=True)
        connection.sendall(b"more")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    check(daemon.expect_one_record(reason="no-flow"), protocol="tcp", destination_ip=ECHO, destination_port=9000)


def test_silent_drops_are_recorded(start_daemon, lab):
    """refuse_with: drop changes the answer, not the record."""
    daemon = start_daemon(lambda config: config.update(refuse_with="drop"))
    with UdpClient(lab.spoke, ECHO) as client:
        client.socket.send(b"refused")
        check(daemon.expect_one_record(event="packet"), reason="no-network-rule", destination_port=5000)
        assert client.is_silent()


@FAMILIES
def test_a_quic_client_is_refused_with_its_server_name(daemon, lab, family):
    """The first flight of ngtcp2's client, towards a name that is allowed over TLS, is recorded once and with the name."""
    name = f"only{family}.allowed.example"
    address = lab.zone.v6(name) if family == 6 else lab.zone.v4(name)
    client = lab.spoke.start(f"quic-client-{family}", "gtlsclient", "-q", name, "443", f"https://{name}/")
    record = daemon.wait_record(event="packet", protocol="quic")
    client.stop()
    check(record, reason="quic", fqdn=name, client_ip=SPOKE[family], destination_ip=address, destination_port=443)
    assert daemon.matching(event="packet") == [record]


def send_many(lab, count):
    """Refused packets to ten ports in turn, until the kernel has refused all; the client hears nothing of it."""
    with lab.spoke.socket(kind=socket.SOCK_DGRAM) as client:
        for number in range(count):
            client.sendto(b"refused", (ECHO, 6000 + number % 10))

    def refused():
        listing = lab.nva.run("nft", "list", "chain", "inet", "aksegressd", "refuse", check=True).stdout
        return sum(int(packets) for packets in re.findall(r"counter packets (\d+)", listing)) >= count

    wait_for(refused, "refused packets")


def sum_up(config):
    config["logging"][0]["summarize"] = "10s"


def check_all_are_counted(daemon, count):
    """Ten have a record; those, the counts of summaries, what an alarm says is in no record, and lost records are all."""
    records = daemon.matching(event="packet", reason="no-network-rule")
    summaries = daemon.matching(event="summary", reason="no-network-rule")
    unrecorded = [int(re.search(r"\d+", record["hint"])[0]) for record in daemon.matching(event="alarm", reason="packets-unrecorded")]
    assert sorted(record["destination_port"] for record in records) == list(range(6000, 6010))
    assert all(record["first_time"] <= record["last_time"] for record in summaries)
    lost = [record["lost"] for record in daemon.records() if "lost" in record]
    assert len(records) + sum(record["count"] for record in summaries) + sum(unrecorded) + sum(lost) == count, (summaries, unrecorded, lost)


def test_every_refused_packet_is_counted(start_daemon, lab):
    """Of 5,000 packets of ten kinds ten have a record at once, the others are in sums."""
    daemon = start_daemon(sum_up)
    send_many(lab, 5000)
    daemon.check_and_stop()
    check_all_are_counted(daemon, 5000)


def test_what_the_kernel_had_told_before_the_end_is_recorded(start_daemon, lab):
    """Packets of which the daemon had read nothing yet when it was told to stop, the last ones not even sent to it."""
    daemon = start_daemon(sum_up)
    daemon.process.popen.send_signal(signal.SIGSTOP)
    send_many(lab, 20010)
    daemon.process.popen.send_signal(signal.SIGTERM)
    daemon.process.popen.send_signal(signal.SIGCONT)
    daemon.finish()
    check_all_are_counted(daemon, 20010)
