"""Decision records: their fields, their order, rotation, filters, the journal."""

import datetime
import os
import signal
import socket
import struct

from lab import POOL_V4, wait_for

FIELDS_ALWAYS = {"seq", "instance", "time", "event", "action", "reason", "cluster", "listener", "client_ip", "client_port", "protocol",
                 "fqdn", "destination_port", "bytes_out", "bytes_in", "duration_ms", "connection_id"}


def test_an_allowed_connection_has_every_field(daemon, client):
    """The record of an allowed TLS connection: names, addresses, counts, times."""
    before = datetime.datetime.now(datetime.timezone.utc)
    answer = client.curl("-4", "https://first.allowed.example/some/path")
    record = daemon.expect_one_record(fqdn="first.allowed.example")
    after = datetime.datetime.now(datetime.timezone.utc)
    assert set(record) == FIELDS_ALWAYS | {"feature", "rule", "original_ip", "destination_ip", "snat_ip", "snat_port", "alpn", "ech"}
    assert before <= datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")) <= after
    assert (record["event"], record["action"], record["reason"]) == ("connection", "allow", "completed")
    assert (record["snat_ip"], str(record["snat_port"])) == (answer.peer, answer.port)
    assert 300 < record["bytes_out"] < 3000 and 500 < record["bytes_in"] < 10000
    assert 0 <= record["duration_ms"] < 5000
    assert record["feature"] == "allow"


def test_a_refused_connection_has_what_there_is_to_know(daemon, client):
    """The record of a refused one: why, what would allow it, and nothing about an origin it never had."""
    client.curl("-4", "https://global.handler.control.monitor.azure.com/")
    record = daemon.expect_one_record(fqdn="global.handler.control.monitor.azure.com")
    assert set(record) == FIELDS_ALWAYS | {"hint", "original_ip", "alpn", "ech"}
    assert (record["action"], record["reason"]) == ("deny", "no-rule")
    assert "feature 'monitor'" in record["hint"]


def test_sequence_numbers_have_no_gap(daemon, client):
    """Per sink, seq counts from the first record on without a hole; instance is the same throughout."""
    for _ in range(20):
        client.curl("http://example.com/")
    wait_for(lambda: len(daemon.records()) == 20, "20 records")
    records = daemon.records()
    first = records[0]["seq"]
    assert [record["seq"] for record in records] == list(range(first, first + 20))
    assert len({record["instance"] for record in records}) == 1
    assert len({record["connection_id"] for record in records}) == 20


def test_each_start_is_another_instance(start_daemon, client):
    """instance tells two runs apart."""
    seen = set()
    for _ in range(2):
        daemon = start_daemon()
        client.curl("http://example.com/")
        seen.add(daemon.wait_record(fqdn="example.com")["instance"])
        daemon.check_and_stop()
    assert len(seen) == 2


def test_usr1_reopens_the_file(daemon, client):
    """After a rename and USR1 the next record is in a new file, and none is lost or doubled."""
    rotated = daemon.records_path.with_suffix(".1")
    client.curl("http://example.com/before")
    first = daemon.wait_record(fqdn="example.com")
    os.rename(daemon.records_path, rotated)
    client.curl("http://example.com/between")
    daemon.send(signal.SIGUSR1)
    wait_for(daemon.records_path.exists, "new file")
    client.curl("http://example.com/after")
    wait_for(lambda: len(rotated.read_text().splitlines()) + len(daemon.records()) == 3, "three records in two files")
    assert daemon.records()[-1]["seq"] == first["seq"] + 2
    rotated.unlink()


def test_a_sink_takes_only_its_events_and_clusters(start_daemon, client, lab):
    """events and clusters choose what goes to a file."""
    other, nothing = lab.directory / "denials.json", lab.directory / "nothing.json"

    def change(config):
        config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud",
                                   "location": "westeurope", "snat_pool": "main"})
        config["logging"].append({"sink": "file", "path": str(other), "events": ["deny"], "format": "json"})
        config["logging"].append({"sink": "file", "path": str(nothing), "events": ["deny", "allow"], "clusters": ["dev-weu"]})

    daemon = start_daemon(change)
    client.curl("https://first.allowed.example/")
    client.curl("http://example.com/")
    daemon.expect_one_record(fqdn="first.allowed.example")
    daemon.expect_one_record(fqdn="example.com")
    daemon.check_and_stop()
    assert [line.count('"deny"') for line in other.read_text().splitlines()] == [1]
    assert nothing.read_text() == ""


def read_native(message):
    """The fields of a message in journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    while message:
        line, _, rest = message.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = struct.unpack("<Q", rest[:8])[0]
            value, rest = rest[8:8 + length], rest[9 + length:]
        fields[name.decode()] = value.decode()
        message = rest
    return fields


def test_the_journal_gets_structured_fields(start_daemon, client, lab):
    """The journal sink sends each field in upper case with its prefix (to a socket in journald's place)."""
    directory = lab.directory / "journal"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(directory / "socket"))
        journal.settimeout(10)
        script = f'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && ln -s {directory} /run/systemd/journal && exec "$@"'
        daemon = start_daemon(lambda config: config["logging"].append({"sink": "journal"}),
                              prefix=("unshare", "-m", "sh", "-c", script, "sh"))
        client.curl("http://example.com/")
        fields = read_native(journal.recv(65536))
    record = daemon.expect_one_record(fqdn="example.com")
    assert fields["AKSEGRESS_FQDN"] == "example.com"
    assert fields["AKSEGRESS_REASON"] == "no-rule"
    assert fields["AKSEGRESS_CONNECTION_ID"] == record["connection_id"]
    assert len(fields["MESSAGE_ID"]) == 32
    assert "example.com" in fields["MESSAGE"]
    missing = {f"AKSEGRESS_{name.upper()}" for name in record if name not in ("seq", "time")} - set(fields)
    assert not missing, fields


def test_hostile_names_do_not_break_a_record(daemon, client):
    """What a client writes cannot put a line break or a quote into the file."""
    with client.connect("first.allowed.example", 80) as connection:
        connection.sendall(b'GET / HTTP/1.1\r\nHost: a"\nb{}\x01.example\r\n\r\n')
        connection.recv(1000)
    wait_for(daemon.records, "record")
    text = daemon.records_path.read_text()
    assert text.count("\n") == 1
    assert "fqdn" not in daemon.records()[0]


def test_the_pool_in_the_record_is_what_the_origin_saw(start_daemon, client):
    """For each of twelve connections over six addresses."""
    daemon = start_daemon(lambda config: config["snat_pools"][0].update(addresses=[f"{POOL_V4[0]}-{POOL_V4[-1]}"], selection="round_robin"))
    answers = [client.curl("https://first.allowed.example/") for _ in range(12)]
    wait_for(lambda: len(daemon.records()) == 12, "12 records")
    assert sorted((record["snat_ip"], str(record["snat_port"])) for record in daemon.records()) == sorted((a.peer, a.port) for a in answers)
    assert {answer.peer for answer in answers} == set(POOL_V4)
