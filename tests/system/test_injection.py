"""Whatever bytes the texts of a record hold, real receivers read back the fields that were logged, and nothing else."""

import codecs
import json
import re

import pytest

from boot import CONNECTION_RECORD
from daemon import BUILD, configuration
from lab import wait_for
from receivers import PORTS, Rsyslog, SyslogNg
from test_syslog import plain_sink, tls_sink

# Every byte value that a text can hold, in the middle, at the end and twice; and what each format, a terminal or an encoding would trip over.
TEXTS = [text for byte in range(1, 256) for text in (b"a" + bytes([byte]) + b"z", b"z" + bytes([byte]), bytes([byte, byte]))] + [
    b"x\n<133>1 - - - - - - f", b"x\r\nMESSAGE=forged", b'x" y="forged', b"x] [y z=\"1\"]", b"x\\", b'x\\"', b"x\\]", b"x\\\\",
    b"x cs1=forged", b"x|y|10|", b"x\\=y", b'","seq":1,"y":"', b"\x1b[2J\x1b[31m", b"\x1b]0;title\x07", b"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
    b"\xc0\x8a\xc1\xbf", b"\xe0\x80\x8a", b"\xed\xa0\x80\xed\xb0\x80", b"\xf5\x80\x80\x80", b"\xef\xbb\xbfx", b"\xef\xbf\xbfx\xef\xb7\x90", b"\xf0\x9f\xbf\xbe", b"\xe2\x80\xa8x\xe2\x80\xa9",
    b"\xe2\x80\xae" b"txt.exe", b"\xc2\x85x\xc2\x9b", b"%n%s%x", b"$!all-json", b"  x  ", b"\x7f\x7f", b"\xe2\x82", b"\xf0\x9f\x98",
]
HIDDEN = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"  # control characters, and what ends a line or turns its direction
NAMES = ("cluster", "feature", "rule", "hint", "alpn", "connection_id", "fqdn")  # of the fields that hold the text

codecs.register_error("replace-each", lambda error: ("\ufffd", error.start + 1))  # "replace" makes one of several bytes


def as_text(source):
    """What JSON, which has an escape for every character, says of these bytes."""
    return "".join("\ufffd" if ord(character) & 0xfffe == 0xfffe or 0xfdd0 <= ord(character) <= 0xfdef else character
                   for character in source.decode(errors="replace-each"))


def feed(lab, sinks):
    """The files for record_feed: configuration and texts."""
    config = configuration(lab)
    config["logging"] = sinks
    paths = lab.directory / "feed.yaml", lab.directory / "feed.texts"
    paths[0].write_text(json.dumps(config))
    paths[1].write_text("".join(text.hex() + "\n" for text in TEXTS))
    return paths


def shown(text, but=""):
    """What formats write that have no escapes for these."""
    return re.sub(HIDDEN, lambda match: match[0] if match[0] in but else "\ufffd", text)


def check_reference(records):
    """The file in JSON: one record each, in order, with the text as it is where it is UTF-8."""
    assert [record["client_port"] for record in records] == list(range(1, len(TEXTS) + 1))
    for record, source in zip(records, TEXTS):
        assert {name: record[name] for name in NAMES} == dict.fromkeys(NAMES, as_text(source))
        assert set(record) == set(records[0])


def check_same(received, records):
    """The fields of a receiver, as texts."""
    received = sorted(received, key=lambda fields: int(fields["client_port"]))
    for fields, record in zip(received, records, strict=True):
        assert set(fields) == set(record)
        assert [fields[name] for name in NAMES] == [shown(record[name]) for name in NAMES]


def cef_fields(text):
    """The extension of a CEF event by its keys, as ArcSight's guide to CEF has it."""
    header = re.match(r"CEF:0\|((?:[^|\\]|\\.)*\|){6}", text)
    pairs = re.findall(r"(\w+)=((?:[^=\\]|\\.)*?)(?= \w+=|$)", text[header.end():])
    assert " ".join(f"{key}={value}" for key, value in pairs) == text[header.end():], text
    return {key: re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), value) for key, value in pairs}


def test_receivers_read_back_every_byte(lab):
    """rsyslog over TLS, TCP and UDP, in three formats, syslog-ng, and files."""
    files = {name: {"sink": "file", "path": str(lab.directory / f"feed.{name}"), "format": name, "events": ["deny"], "summarize": "off"}
             for name in ("json", "azure")}
    with Rsyslog(lab) as receiver:
        config, texts = feed(lab, [*files.values(), tls_sink(lab), plain_sink("udp", PORTS["udp"]), plain_sink("tcp", PORTS["json"], format="json"),
                                   plain_sink("tcp", PORTS["cef"], format="cef")])
        lab.nva.run(BUILD / "tests/system/record_feed", config, texts, check=True)
        records = [json.loads(line) for line in (lab.directory / "feed.json").read_bytes().splitlines()]
        check_reference(records)
        for name in ("records", "json", "cef"):
            wait_for(lambda name=name: len(receiver.whole_lines(name)) == len(records), f"{name} at rsyslog")
        check_same(receiver.records(), records)
        assert not any(re.search(HIDDEN, text) for _, _, text in receiver.messages())
        assert [{**parsed, "seq": 0, "instance": 0} for _, parsed, _ in receiver.messages("json")] == \
            [{**record, "seq": 0, "instance": 0} for record in records]
        for (_, _, text), record in zip(receiver.messages("cef"), records):
            fields = cef_fields(text)
            assert [fields[key] for key in ("cs1", "cs2", "cs3", "cs4", "flexString1", "dhost")] == [shown(record["hint"], but="\r\n")] * 6
    for line, record in zip((lab.directory / "feed.azure").read_bytes().splitlines(), records, strict=True):
        assert {**json.loads(line)["aksegress"], "instance": 0} == {**record, "instance": 0}


@pytest.mark.skipif(not SyslogNg.is_there(), reason="no syslog-ng")
def test_syslog_ng_reads_back_every_byte(lab):
    """Structured data, by another parser."""
    reference = {"sink": "file", "path": str(lab.directory / "feed.json"), "format": "json", "events": ["deny"], "summarize": "off"}
    with SyslogNg(lab) as receiver:
        config, texts = feed(lab, [reference, tls_sink(lab)])
        lab.nva.run(BUILD / "tests/system/record_feed", config, texts, check=True)
        records = [json.loads(line) for line in (lab.directory / "feed.json").read_bytes().splitlines()][-len(TEXTS):]
        wait_for(lambda: len(receiver.whole_lines()) == len(records), "records at syslog-ng")
        check_same(receiver.records(), records)


def test_journald_reads_back_every_byte(machine, lab):
    """journalctl -o json by MESSAGE_ID: fields as texts, none of them raw bytes."""
    reference = {"sink": "file", "path": "/var/log/feed.json", "format": "json", "events": ["deny"], "summarize": "off"}
    for path in (*feed(lab, [reference, {"sink": "journal", "events": ["deny"], "summarize": "off"}]), BUILD / "tests/system/record_feed"):
        machine.path(f"/root/{path.name}").write_bytes(path.read_bytes())
    machine.run("chmod", "755", "/root/record_feed")
    machine.run("/root/record_feed", "/root/feed.yaml", "/root/feed.texts")
    records = machine.records("/var/log/feed.json")
    check_reference(records)
    found = machine.run("journalctl", "--no-pager", "--all", "--output=json", f"MESSAGE_ID={CONNECTION_RECORD}", "AKSEGRESS_CLIENT_IP=10.1.0.4").stdout
    entries = [json.loads(line) for line in found.splitlines()]
    check_same([{name.removeprefix("AKSEGRESS_").lower(): value for name, value in entry.items() if name.startswith("AKSEGRESS_")}
                for entry in entries], records)
    assert not any(re.search(HIDDEN, entry["MESSAGE"]) for entry in entries)
