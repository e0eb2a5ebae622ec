"""conf/rsyslog in a booted machine: what the shipped files do with the records of a file, of the journal, and with CEF."""

import json
import re
import socket

import pytest

from boot import CONNECTION_RECORD, RECORDS, UNIT
from clients import hello, refused_alert
from lab import wait_for
from receivers import ADDRESS, NAME, Rsyslog, make_certificate

SNIPPETS = "/usr/share/doc/aksegressd/rsyslog"
AGENT_PORT = 28330  # of the Azure Monitor Agent
ELSEWHERE = "something that another program logs"


@pytest.fixture
def rsyslog(machine, lab):
    """A function that puts a snippet into effect in the machine, as README.md of the snippets has it."""
    make_certificate(lab, "nva.example")
    for source, target in (("ca.pem", "siem-ca.pem"), ("nva.example.pem", "nva.pem"), ("nva.example.key", "nva.key")):
        machine.path(f"/etc/aksegressd/{target}").write_bytes((lab.directory / source).read_bytes())
    hosts = machine.path("/etc/hosts")
    hosts.write_text(f"{ADDRESS} {NAME}\n127.0.0.1 localhost\n")
    started = []

    def start(name):
        text = machine.path(f"{SNIPPETS}/{name}").read_text()
        target = machine.path(f"/etc/rsyslog.d/{name}")
        started.append(target)
        target.write_text(text.replace("siem.contoso.com", NAME))
        checked = machine.run("rsyslogd", "-N1")
        assert checked.stderr.count("\n") == 2, checked.stderr  # that it begins and that it ends
        machine.systemctl("enable", "--now", "rsyslog.service")
    yield start
    machine.systemctl("stop", "syslog.socket", "rsyslog.service")
    machine.systemctl("disable", "rsyslog.service")
    for path in started:
        path.unlink()
    for path in machine.path("/var/spool/rsyslog").iterdir():
        path.unlink()


def refuse(machine, client, count):
    """So many refused connections."""
    for _ in range(count):
        assert refused_alert(client.connect("example.com"), hello("example.com")) == "unrecognized_name"


def received(receiver):
    """The JSON texts of the messages, without those that came twice."""
    texts = dict.fromkeys(text for _, _, text in receiver.messages())
    return [json.loads(text) for text in texts]


def refuse_until_suspended(machine, client):
    """What is sent before rsyslog notices that the server has gone is lost: TCP does not say what was read. Returns how many."""
    mark, count = machine.mark(), 0
    while not any("suspended" in message for message in machine.messages(mark, "rsyslog.service")):
        refuse(machine, client, 1)
        count += 1
    return count


def restart_without_summaries(machine, *sinks):
    for sink in machine.config["logging"]:
        sink["summarize"] = "off"
    machine.config["logging"] += sinks
    machine.write_config()
    machine.systemctl("restart", UNIT)


def test_records_of_a_file_arrive_though_it_is_rotated_while_the_server_is_away(machine, client, lab, rsyslog):
    """imfile, TLS with certificates on both sides, and a queue: each record as it is in the file."""
    machine.path(RECORDS).unlink(missing_ok=True)
    restart_without_summaries(machine)
    rsyslog("aksegressd-file.conf")
    with Rsyslog(lab) as receiver:
        refuse(machine, client, 5)
        wait_for(lambda: len(received(receiver)) == 5, "records at the server")
        header = receiver.messages()[0][0]
        assert (header["pri"], header["app"]) == (133, "aksegressd")
        receiver.stop()
        known = 5 + refuse_until_suspended(machine, client)
        wait_for(lambda: len(machine.records(RECORDS)) == known, "records in the file")
        mark = machine.mark()
        machine.run("logrotate", "--force", "/etc/logrotate.d/aksegressd")
        machine.wait_message("record files reopened", mark)
        refuse(machine, client, 5)
        wait_for(lambda: len(machine.records(RECORDS)) == 5, "records in the new file")
        receiver.start()
        wait_for(lambda: machine.records(RECORDS)[-1] in received(receiver), "what was queued", 30)
        written = machine.records(f"{RECORDS}.1", RECORDS)
        assert [record for record in received(receiver) if not 5 <= written.index(record) < known] == written[:5] + written[known:]


def test_the_journal_arrives_without_what_others_log(machine, client, lab, rsyslog):
    """imjournal: every field that journalctl shows; nothing of other units, which stay in the machine's files, once."""
    restart_without_summaries(machine)

    def written():
        machine.run("journalctl", "--sync")
        output = machine.run("journalctl", "--all", "--output=json", f"MESSAGE_ID={CONNECTION_RECORD}").stdout
        return [json.loads(line) for line in output.splitlines()]

    with Rsyslog(lab) as receiver:
        rsyslog("aksegressd-journal.conf")
        machine.run("logger", ELSEWHERE)
        known = len(written()) + 3
        refuse(machine, client, 3)
        wait_for(lambda: len(records_in(receiver)) == known, "records at the server", 30)
        receiver.stop()
        unsure = refuse_until_suspended(machine, client)
        refuse(machine, client, 3)
        machine.systemctl("restart", UNIT)
        receiver.start()
        names = {name for entry in written() for name in entry if name.startswith("AKSEGRESS_")} | {"MESSAGE", "MESSAGE_ID", "PRIORITY"}
        expected = [{name: entry.get(name) for name in names} for entry in written()]

        def found():
            return [{name: data.get(name) for name in names} for data in records_in(receiver)]
        wait_for(lambda: expected[-1] in found(), "the last record", 30)
        wait_for(lambda: any(data["MESSAGE"] == "stopped" for data in received(receiver)), "the daemon's own messages", 30)
        assert [data for data in found() if not known <= expected.index(data) < known + unsure] == expected[:known] + expected[known + unsure:]
        assert {header["msgid"] for header, _, text in receiver.messages() if "AKSEGRESS_EVENT" in text} == {"connection"}
        assert not any(ELSEWHERE in text for _, _, text in receiver.messages())
    assert machine.path("/var/log/syslog").read_text().count(ELSEWHERE) == 1


def records_in(receiver):
    """Of the journal's entries at the server, those that are records."""
    return [data for data in received(receiver) if "AKSEGRESS_EVENT" in data]


class Agent:
    """Listens where the Azure Monitor Agent does, and keeps the lines."""

    def __init__(self, lab):
        with lab.nva.entered():
            self.listener = socket.create_server(("127.0.0.1", AGENT_PORT))
        self.listener.settimeout(30)
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(30)
        self.lines = self.connection.makefile("r", encoding="utf-8", newline="\n")

    def read_to(self, number):
        """The lines up to the one with this seq, which come in order; one may come twice."""
        lines = []
        while not lines or f"|externalId={number} " not in lines[-1]:
            lines.append(self.lines.readline().rstrip("\n"))
            assert lines[-1], "the connection ended"
        return dict.fromkeys(lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for what in (self.lines, self.connection, self.listener):
            what.close()


def test_cef_arrives_where_the_azure_monitor_agent_listens(machine, client, lab, rsyslog):
    """Lines of the form that the agent takes for CEF, also those of the time when it was away."""
    rsyslog("aksegressd-cef.conf")
    machine.path(RECORDS).unlink(missing_ok=True)
    restart_without_summaries(machine, {"sink": "syslog", "transport": "tcp", "address": "127.0.0.1", "format": "cef",
                                        "events": ["deny"], "summarize": "off", "spool": "/var/lib/aksegressd/cef"})
    refuse(machine, client, 4)
    with Agent(lab) as agent:
        lines = agent.read_to(4)
    known = 4 + refuse_until_suspended(machine, client)
    refuse(machine, client, 4)
    with Agent(lab) as agent:
        lines |= agent.read_to(known + 4)
    wait_for(lambda: len(machine.records(RECORDS)) == known + 4, "records in the file")
    written, seen = machine.records(RECORDS), []
    for line in lines:
        match = re.fullmatch(r"<133>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d (\S+) (CEF:0\|aksegressd\|aksegressd\|.*)", line)
        assert match and match[1] == machine.run("hostname").stdout.strip(), line
        fields = dict(re.findall(r"(\w+)=((?:[^=\\]|\\.)*?)(?= \w+=|$)", match[2].split("|", 7)[7]))
        seen.append(int(fields["externalId"]))
        record = written[seen[-1] - 1]
        assert (fields["spt"], fields["dhost"], fields["cs1"]) == (str(record["client_port"]), record["fqdn"], record["cluster"])
    assert [number for number in seen if not 4 < number <= known] == [1, 2, 3, 4, *range(known + 1, known + 5)]
