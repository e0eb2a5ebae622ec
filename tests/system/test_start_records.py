"""Records of what begins, where a sink asks for them: one start before the one end of each allowed attempt, with the same id."""

import pytest

from lab import wait_for
from network_origins import ECHO, UdpEcho, ask

IDENTITY = ("connection_id", "client_ip", "client_port", "cluster", "feature", "rule", "listener", "fqdn", "destination_ip",
            "destination_port", "snat_ip", "snat_port", "protocol", "original_ip", "alpn", "ech")
NEVER = ("reason", "bytes_out", "bytes_in", "duration_ms")


def at(*moments, more=()):
    """A change of the configuration: when allowed traffic has records, and more rules for the first cluster."""
    def change(config):
        config["logging"][0]["allow_at"] = list(moments)
        config["clusters"][0]["allow"] += more
    return change


def check_pair(start, end):
    assert start["event"] == "start" and start["action"] == end["action"] and start["time"] <= end["time"]
    assert not set(NEVER) & set(start), start
    assert {name: start.get(name) for name in IDENTITY} == {name: end.get(name) for name in IDENTITY}
    assert end["bytes_out"] > 0 and end["bytes_in"] > 0 and end["duration_ms"] >= 0
    assert start["seq"] < end["seq"]


@pytest.mark.parametrize("way", ((), ("-x", "http://198.18.1.1:3128")), ids=("transparent", "proxy"))
def test_a_tunnel_has_a_start_and_an_end(start_daemon, client, way):
    """Both records name the same connection; only the end has bytes, duration and reason."""
    daemon = start_daemon(at("start", "end"))
    client.curl("-4", "https://first.allowed.example/", *way)
    end = daemon.expect_one_record(event="connection", fqdn="first.allowed.example")
    check_pair(daemon.expect_one_record(event="start", fqdn="first.allowed.example"), end)


def test_each_request_has_a_start_and_an_end(start_daemon, client):
    """Two requests on one connection: start, end, start, end."""
    daemon = start_daemon(at("start", "end"))
    client.curl("-4", "http://first.allowed.example/one", "http://first.allowed.example/two")
    wait_for(lambda: len(daemon.matching(event="connection")) == 2, "two ends")
    records = [record for record in daemon.records() if record["event"] != "alarm"]
    assert [record["event"] for record in records] == ["start", "connection"] * 2
    assert len({record["connection_id"] for record in records}) == 1
    for start, end in zip(records[::2], records[1::2]):
        check_pair(start, end)


def test_what_is_refused_never_started(start_daemon, client):
    """A refused attempt has its one record, as always."""
    daemon = start_daemon(at("start", "end"))
    client.curl("https://example.com/")
    client.curl("http://example.com/")
    wait_for(lambda: len(daemon.matching(action="deny")) == 2, "two denials")
    daemon.check_and_stop()
    assert not daemon.matching(event="start")


def test_a_sink_may_take_starts_alone(start_daemon, client, lab):
    """allow_at: [start] leaves the ends to others."""
    ends = lab.directory / "ends.json"

    def change(config):
        at("start")(config)
        config["logging"].append({"sink": "file", "path": str(ends), "events": ["allow"]})

    daemon = start_daemon(change)
    client.curl("-4", "https://first.allowed.example/")
    daemon.expect_one_record(event="start")
    wait_for(lambda: ends.exists() and '"connection"' in ends.read_text(), "the end, in the other file")
    daemon.check_and_stop()
    assert [record["event"] for record in daemon.records()] == ["start"]
    assert '"start"' not in ends.read_text()


@pytest.mark.parametrize("action", ("allow", "audit"))
def test_a_forwarded_flow_has_a_start_and_an_end(start_daemon, lab, action):
    """The kernel tells of both; their id is conntrack's."""
    def audit(config):
        at("start", "end", more=[f"udp [{ECHO}]:5000"] if action == "allow" else [])(config)
        config["clusters"][0]["mode"] = "audit" if action == "audit" else "enforce"

    daemon = start_daemon(audit)
    with UdpEcho(lab):
        ask(lab.spoke, ECHO)
    start = daemon.expect_one_record(event="start")
    lab.nva.run("conntrack", "-D", "-p", "udp", "--dport", 5000, check=True)
    end = daemon.expect_one_record(event="flow")
    check_pair(start, end)
    assert start["listener"] == "forward" and start["action"] == action


def test_a_reload_switches_starts_on_and_off(start_daemon, client, lab):
    """Connections and flows alike follow the configuration in force."""
    daemon = start_daemon(at("end", more=[f"udp [{ECHO}]:5000"]))

    def use(count):
        client.curl("-4", "https://first.allowed.example/")
        with UdpEcho(lab):
            ask(lab.spoke, ECHO)
        lab.nva.run("conntrack", "-D", "-p", "udp", "--dport", 5000, check=True)
        wait_for(lambda: len(daemon.matching(event="flow")) == count and len(daemon.matching(event="connection")) == count, "ends")
        return len(daemon.matching(event="start"))

    assert use(1) == 0
    for moments, round_number, starts in ((["start", "end"], 2, 2), (["end"], 3, 2)):
        daemon.config["logging"][0]["allow_at"] = moments
        daemon.reload()
        assert use(round_number) == starts
