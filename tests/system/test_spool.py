"""A receiver that is away, killed, stopped or slow: what it was to get, and when nothing is lost."""

import os
import re
import shutil
import signal
import socket
import threading

import pytest

from lab import wait_for
from network_origins import ECHO
from receivers import PORTS, Rsyslog
from test_syslog import COUNTERS, as_text, plain_sink, tls_sink, with_sinks

BURST = 200
BEHIND = 2000  # packets whose records are not there yet; half of what a ring holds


@pytest.fixture(name="spool")
def fixture_spool(lab):
    directory = lab.directory / "spool"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


class Load:
    """Refused UDP packets, one record each, in bursts with a pause between them, until it is ended or has sent them all. It waits
    for a daemon that is slower (a sanitizer's), whose rings would overflow."""

    def __init__(self, daemon, packets=100000):
        self.ended = threading.Event()
        self.daemon = daemon
        self.sent = 0
        self.records = 0
        self.read_to = daemon.records_path.stat().st_size
        self.packets = packets
        self.socket = daemon.lab.spoke.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.thread = threading.Thread(target=self.run)

    def recorded(self):
        """How many records have come since it began."""
        with open(self.daemon.records_path, "rb") as stream:
            stream.seek(self.read_to)
            new = stream.read()
        self.read_to += len(new)
        self.records += new.count(b"\n")
        return self.records

    def run(self):
        while self.sent < self.packets and not self.ended.wait(0.02):
            for _ in range(BURST):
                self.socket.sendto(b"refused", (ECHO, 6000 + self.sent % 1000))
                self.sent += 1
            wait_for(lambda: self.recorded() > self.sent - BEHIND or self.ended.is_set(), "records of most of the packets", 30)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.socket.close()


def send(daemon, count):
    """So many refused packets."""
    with Load(daemon, count) as load:
        load.thread.join()


def spooled(spool):
    """Bytes on disk."""
    return sum(path.stat().st_size for path in spool.glob("*.records"))


def numbered(records):
    """By seq: one of each, duplicates being equal to it. In the order in which they came first."""
    found = {}
    for record in records:
        seq = int(record["seq"])
        assert found.setdefault(seq, record) == record, "one seq, two records"
    return found


def check_all(receiver, daemon):
    """Every seq came, in order, with what the file says; nothing was lost."""
    reference = {record["seq"]: as_text(record) for record in daemon.records()}
    wait_for(lambda: len(numbered(receiver.records())) >= len(reference), f"every record\n{daemon.log()[-2000:]}", 60)
    received = numbered(receiver.records())
    assert list(received) == sorted(received) == list(range(1, len(received) + 1))
    assert not any("lost" in record for record in received.values())
    for seq, record in reference.items():
        assert {name: value for name, value in received[seq].items() if name not in COUNTERS} == \
            {name: value for name, value in record.items() if name not in COUNTERS}
    return received


def settled(daemon, sent):
    """Waits until the file has a record of each of so many refused packets, or an alarm for it; how many records it has."""
    def text():
        return daemon.records_path.read_text() if daemon.records_path.exists() else ""

    def told():
        unrecorded = re.findall(r'"hint":"(\d+) refused packets are in no record', text())
        return text().count('"event":"packet"') + sum(map(int, unrecorded)) >= sent
    wait_for(told, f"records of {sent} packets", 30)
    return text().count("\n")


def arrived(receiver, count):
    wait_for(lambda: len(receiver.whole_lines()) >= count, f"{count} records at the receiver", 30)


def test_a_receiver_that_is_killed_again_and_again_misses_nothing(start_daemon, lab, spool):
    """kill -9 under load, three times, over TLS with a spool: every seq arrives, in order."""
    receiver = Rsyslog(lab).start()
    try:
        daemon = start_daemon(with_sinks(tls_sink(lab, events=["deny"], spool=str(spool))))
        with Load(daemon) as load:
            for _ in range(3):
                before = len(receiver.whole_lines())
                arrived(receiver, before + 1000)
                receiver.kill()
                sent = load.sent
                wait_for(lambda: load.sent > sent + 2000, "packets while the receiver is away")
                receiver.start()
        assert settled(daemon, load.sent) > 6000
        check_all(receiver, daemon)
        assert (spool.stat().st_mode & 0o7777) == 0o700
    finally:
        receiver.stop()


def test_without_a_spool_a_restart_of_the_receiver_costs_nothing(start_daemon, lab):
    """Memory holds what a short absence costs, plain TCP."""
    receiver = Rsyslog(lab).start()
    try:
        daemon = start_daemon(with_sinks(plain_sink("tcp", PORTS["tcp"], events=["deny"])))
        with Load(daemon) as load:
            wait_for(lambda: len(receiver.whole_lines("tcp")) > 500, "records")
            receiver.kill()
            sent = load.sent
            wait_for(lambda: load.sent > sent + 1000, "packets while the receiver is away")
            receiver.start()
        settled(daemon, load.sent)
        reference = daemon.records()
        wait_for(lambda: len(numbered(receiver.records("tcp"))) >= len(reference), "every record", 60)
        assert list(numbered(receiver.records("tcp"))) == [record["seq"] for record in reference]
    finally:
        receiver.stop()


def test_what_the_daemon_had_spooled_survives_its_own_kill(start_daemon, lab, spool):
    """kill -9 of the daemon while the receiver is away; the next one sends what the first had spooled, then its own."""
    change = with_sinks(tls_sink(lab, events=["deny"], spool=str(spool)))
    first = start_daemon(change)
    send(first, 3000)
    count = settled(first, 3000)
    reference = [as_text(record) for record in first.records()]

    wait_for(lambda: sum(path.read_bytes().count(b' event="') for path in spool.glob("*.records")) == count, "the spool")
    first.stop(signal.SIGKILL)
    first.finished = True
    with Rsyslog(lab) as receiver:
        second = start_daemon(change)
        send(second, 200)
        own = settled(second, 200)
        arrived(receiver, count + own)
        records = receiver.records()
        instances = list(dict.fromkeys(record["instance"] for record in records))
        assert len(instances) == 2
        by_instance = [numbered([record for record in records if record["instance"] == instance]) for instance in instances]
        assert list(by_instance[0]) == list(range(1, count + 1)) and list(by_instance[1]) == list(range(1, own + 1))
        for seq, record in by_instance[0].items():
            assert record["client_port"] == reference[seq - 1]["client_port"] and record["time"] == reference[seq - 1]["time"]


def test_an_orderly_restart_sends_nothing_twice(start_daemon, lab, spool):
    """Both sides ended the connection in order: the receiver has read all."""
    change = with_sinks(tls_sink(lab, events=["deny"], spool=str(spool)))
    with Rsyslog(lab) as receiver:
        total = 0
        for _ in range(2):
            daemon = start_daemon(change)
            send(daemon, 400)
            total += settled(daemon, 400)
            arrived(receiver, total)
            daemon.check_and_stop()
        keys = [(record["instance"], record["seq"]) for record in receiver.records()]
        assert len(keys) == len(set(keys)) == total


def test_a_full_spool_loses_the_newest_and_says_so(start_daemon, lab, spool):
    """Records wait, then are lost and counted: lost explains every gap in seq, and an alarm is raised, one also before it is full.
    A reload with a larger spool_max ends that."""
    daemon = start_daemon(with_sinks(tls_sink(lab, events=["deny"], spool=str(spool), spool_max="16MiB", queue=2048)))
    send(daemon, 40000)
    daemon.wait_record(reason="records-lost", timeout=30)
    daemon.wait_log("its spool is full")
    alarms = [record for record in daemon.records() if record["event"] == "alarm"]
    assert [record["reason"] for record in alarms[:2]] == ["spool-nearly-full", "records-lost"]
    assert re.fullmatch(r"(8\d|9\d) % of the spool of .* are used; when it is full, records are lost", alarms[0]["hint"])
    settled(daemon, 40000)
    assert spooled(spool) <= 16 << 20
    daemon.config["logging"][1]["spool_max"] = "32MiB"
    daemon.reload()
    wait_for(lambda: spooled(spool) > 16 << 20, "a spool that is larger")
    with Rsyslog(lab) as receiver:
        wait_for(lambda: len(receiver.whole_lines()) > 20000, "what was in the spool", 30)
        send(daemon, 200)
        settled(daemon, 40200)
        wait_for(lambda: '"lost"' in receiver.text(), f"a record after the gap\n{daemon.log()[-2000:]}", 30)
        records = numbered(receiver.records())
        seq = 0
        for record in records.values():
            assert int(record["seq"]) == seq + int(record.get("lost", 0)) + 1
            seq = int(record["seq"])
        assert sum(int(record.get("lost", 0)) for record in records.values()) > 1000


def test_a_full_disk_takes_what_is_new_for_what_was_sent(start_daemon, lab):
    """The disk is smaller than what is kept to be sent again: while the receiver is there, nothing is lost."""
    disk = lab.mount_tmpfs("small-spool", "2m")
    with Rsyslog(lab) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab, events=["deny"], spool=str(disk / "spool"), spool_max="32MiB")))
        daemon.wait_log(f"{disk}/spool: its disk has 30 MiB too little for all of spool_max")
        for sent in range(3000, 24001, 3000):
            send(daemon, 3000)
            arrived(receiver, settled(daemon, sent))
        check_all(receiver, daemon)
        daemon.wait_log("No space left on device")


def test_a_stalled_receiver_holds_up_nobody(start_daemon, client, lab, spool):
    """Stopped, not gone: clients and the other sink notice nothing, and later all arrives."""
    receiver = Rsyslog(lab).start()
    try:
        daemon = start_daemon(with_sinks(tls_sink(lab, spool=str(spool))))
        client.curl("-4", "https://first.allowed.example/")
        arrived(receiver, 1)
        os.kill(receiver.process.pid, signal.SIGSTOP)
        with Load(daemon, 20000) as load:
            assert client.curl("-4", "https://first.allowed.example/").status == 200
            load.thread.join()
        settled(daemon, load.sent)
        assert len(daemon.matching(event="connection", action="allow")) == 2
        os.kill(receiver.process.pid, signal.SIGCONT)
        check_all(receiver, daemon)
    finally:
        os.kill(receiver.process.pid, signal.SIGCONT)
        receiver.stop()
