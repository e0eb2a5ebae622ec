"""Syslog sinks and real receivers: what clients did arrives as it was logged; who is not known gets nothing."""

import json
import shutil
import socket

import pytest

from lab import wait_for
from network_origins import ECHO, ask
from origins import DNS_ADDRESS
from receivers import ADDRESS, NAME, PORTS, Rsyslog, SyslogNg, make_certificate, make_other_ca

FACILITY = 20  # local4
SEVERITIES = {"deny": 5, "audit": 5, "allow": 6, None: 4}
COUNTERS = ("seq", "instance", "lost")  # a sink's own


def tls_sink(lab, **changes):
    """A sink that sends to the receiver over TLS, with a certificate of our own."""
    certificate, key = lab.directory / "nva.example.pem", lab.directory / "nva.example.key"
    if not certificate.exists():
        make_certificate(lab, "nva.example")
    return {"sink": "syslog", "address": f"{NAME}:{PORTS['tls']}", "transport": "tls", "facility": "local4", "events": ["deny", "allow"],
            "summarize": "off", "ca_file": str(lab.directory / "ca.pem"), "cert_file": str(certificate), "key_file": str(key), **changes}


def plain_sink(transport, port, **changes):
    return {"sink": "syslog", "address": f"{ADDRESS}:{port}", "transport": transport, "facility": "local4", "events": ["deny", "allow"],
            "summarize": "off", **changes}


def with_sinks(*sinks):
    def change(config):
        config["logging"] += sinks
    return change


def use_everything(client, lab, daemon):
    """An allowed tunnel, refused ones, an allowed and a refused request, and a refused packet."""
    client.curl("-4", "https://first.allowed.example/")
    client.curl("-4", "http://first.allowed.example/")
    client.curl("https://global.handler.control.monitor.azure.com/")
    client.curl("http://example.com/")
    client.curl("https://mcr-microsoft.com/", "-x", "http://198.18.1.1:3128")
    with pytest.raises(OSError):
        ask(lab.spoke, ECHO, 6000)
    wait_for(lambda: len(daemon.records()) == 6, "six records in the file")
    return daemon.records()


def as_text(record):
    """Values as formats without types write them."""
    return {name: json.dumps(value) if isinstance(value, (bool, int)) else value for name, value in record.items()}


def check_same(received, reference):
    """Field by field, but for what counts the records of each sink."""
    def key(record):
        return record["time"], record["event"], record["client_port"]
    received, reference = sorted(received, key=key), sorted(reference, key=key)
    assert [{name: value for name, value in record.items() if name not in COUNTERS} for record in received] == \
        [{name: value for name, value in record.items() if name not in COUNTERS} for record in reference]


def check_sequence(records):
    assert [int(record["seq"]) for record in records] == list(range(1, len(records) + 1))
    assert len({record["instance"] for record in records}) == 1
    assert not any("lost" in record for record in records)


def test_rsyslog_gets_what_clients_did_over_tls_tcp_and_udp(start_daemon, client, lab):
    """Three ways to one receiver, each with a filter of its own; structured data is parsed by rsyslog itself."""
    with Rsyslog(lab) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab), plain_sink("tcp", PORTS["tcp"], events=["allow"]),
                                         plain_sink("udp", PORTS["udp"], clusters=["prod-weu"], events=["deny"])))
        reference = [as_text(record) for record in use_everything(client, lab, daemon)]
        denied = [record for record in reference if record["action"] == "deny"]
        allowed = [record for record in reference if record["action"] == "allow"]
        assert len(denied) == 4 and len(allowed) == 2
        for name, expected in (("records", reference), ("tcp", allowed), ("udp", denied)):
            wait_for(lambda: len(receiver.whole_lines(name)) == len(expected), f"{name} at rsyslog\n{daemon.log()}")
            check_same(receiver.records(name), expected)
            check_sequence(receiver.records(name))
        host = socket.gethostname()
        for header, parsed, text in receiver.messages():
            fields = parsed["rfc5424-sd"]["aksegress@32473"]
            assert header["pri"] == FACILITY * 8 + SEVERITIES[fields["action"]]
            assert (header["host"], header["app"], header["msgid"]) == (host, "aksegressd", fields["event"])
            assert fields["reason"] in text and fields["client_ip"] in text


def test_rsyslog_parses_json_and_gets_cef_whole(start_daemon, client, lab):
    """format: json and cef as the text of a syslog message."""
    with Rsyslog(lab) as receiver:
        daemon = start_daemon(with_sinks(plain_sink("tcp", PORTS["json"], format="json"), plain_sink("tcp", PORTS["cef"], format="cef")))
        reference = use_everything(client, lab, daemon)
        for name in ("json", "cef"):
            wait_for(lambda: len(receiver.whole_lines(name)) == len(reference), f"{name} at rsyslog")
        parsed = [data for _, data, _ in receiver.messages("json")]
        check_same(parsed, reference)
        check_sequence(parsed)
        for number, (_, _, text) in enumerate(receiver.messages("cef"), 1):
            assert text.startswith("CEF:0|aksegressd|aksegressd|") and f"|externalId={number} " in text


@pytest.mark.skipif(not SyslogNg.is_there(), reason="no syslog-ng")
def test_syslog_ng_gets_what_clients_did(start_daemon, client, lab):
    """The other receiver, with its own parser of structured data."""
    with SyslogNg(lab) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab)))
        reference = [as_text(record) for record in use_everything(client, lab, daemon)]
        wait_for(lambda: len(receiver.whole_lines()) == len(reference), f"records at syslog-ng\n{daemon.log()}")
        check_same(receiver.records(), reference)
        check_sequence(receiver.records())
        for message, fields in zip(receiver.messages(), receiver.records()):
            assert (message["facility"], int(message["severity"])) == ("local4", SEVERITIES[fields["action"]])
            assert message["msgid"] == fields["event"]


def by_name(config):
    """A sink that knows its server by a name with addresses of both families."""
    with_sinks(plain_sink("udp", PORTS["udp"], address=f"{NAME}:{PORTS['udp']}"))(config)


def refuse_until_received(client, receiver):
    """Over UDP the first records may be lost."""
    def received():
        client.curl("http://example.com/")
        return receiver.messages("udp")
    wait_for(received, "a record over UDP")


@pytest.fixture
def only_ipv4(lab):
    """The machine has no way to IPv6 servers for a while."""
    way = lab.nva.run("ip", "-6", "route", "show", "default", check=True).stdout.split()
    lab.nva.run("ip", "-6", "route", "del", *way, check=True)
    yield
    lab.nva.run("ip", "-6", "route", "add", *way, check=True)


def test_over_udp_a_name_is_reached_by_an_address_that_there_is_a_way_to(start_daemon, client, lab, only_ipv4):
    """The first address that DNS tells is one of the other family."""
    with Rsyslog(lab) as receiver:
        start_daemon(by_name)
        refuse_until_received(client, receiver)


def test_over_udp_a_reload_brings_other_dns_servers(start_daemon, client, lab, only_ipv4):
    """A server whose name nobody knew is found when the configuration says who does."""
    def change(config):
        by_name(config)
        config["resolver"] = {"servers": [ECHO]}

    with Rsyslog(lab) as receiver:
        daemon = start_daemon(change)
        client.curl("http://example.com/")
        daemon.wait_log("DNS gives no address for it; its records are lost and counted")
        daemon.config["resolver"] = {"servers": [DNS_ADDRESS]}
        daemon.reload()
        refuse_until_received(client, receiver)


def test_a_socket_of_this_machine_gets_datagrams(start_daemon, client, lab):
    """transport unix: one message a datagram, as from syslog(3)'s newer kin."""
    path = lab.directory / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(10)
        start_daemon(with_sinks({"sink": "syslog", "address": str(path), "events": ["deny"]}))
        client.curl("http://example.com/")
        message = receiver.recv(65536).decode()
    path.unlink()
    assert message.startswith("<133>1 ") and ' fqdn="example.com"' in message and "\n" not in message


def refused_for(daemon, receiver, client, sentence):
    """The daemon says why, and nothing was sent; clients are served all the same."""
    client.curl("http://example.com/")
    daemon.wait_record(fqdn="example.com")
    daemon.wait_log(sentence)
    assert receiver.whole_lines() == []


def test_a_server_with_another_name_gets_nothing(start_daemon, client, lab):
    """The certificate must be for the name in address."""
    with Rsyslog(lab, make_certificate(lab, "other.example")) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab)))
        refused_for(daemon, receiver, client, f"the server's certificate is not for '{NAME}'")


def test_a_server_of_an_unknown_authority_gets_nothing(start_daemon, client, lab):
    """Whoever signed it must be in ca_file."""
    make_other_ca(lab, "other-ca")
    with Rsyslog(lab, make_certificate(lab, "foreign", alternatives=f"DNS:{NAME}", ca="other-ca")) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab)))
        refused_for(daemon, receiver, client, "the server's certificate is not trusted: ")


def test_an_expired_certificate_gets_nothing(start_daemon, client, lab):
    """Its time is over."""
    with Rsyslog(lab, make_certificate(lab, "expired", alternatives=f"DNS:{NAME}", days=0)) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab)))
        refused_for(daemon, receiver, client, "the server's certificate is not trusted: certificate has expired")


def test_server_name_is_checked_in_place_of_the_address(start_daemon, client, lab):
    """For a server that is known by another name than the one it is reached by."""
    with Rsyslog(lab, make_certificate(lab, "other.example")) as receiver:
        start_daemon(with_sinks(tls_sink(lab, server_name="other.example")))
        client.curl("http://example.com/")
        wait_for(lambda: len(receiver.whole_lines()) == 1, "the record")


def test_a_server_by_address_must_have_it_in_its_certificate(start_daemon, client, lab):
    """An IP address is a name of its own kind."""
    with Rsyslog(lab, make_certificate(lab, "by-address", alternatives=f"IP:{ADDRESS}")) as receiver:
        start_daemon(with_sinks(tls_sink(lab, address=f"{ADDRESS}:{PORTS['tls']}")))
        client.curl("http://example.com/")
        wait_for(lambda: len(receiver.whole_lines()) == 1, "the record")


def test_a_server_by_address_without_it_in_its_certificate_gets_nothing(start_daemon, client, lab):
    """Its name alone does not do."""
    with Rsyslog(lab) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab, address=f"{ADDRESS}:{PORTS['tls']}")))
        refused_for(daemon, receiver, client, f"the server's certificate is not for '{ADDRESS}'")


def test_a_client_that_the_server_does_not_know_is_told_so(start_daemon, client, lab):
    """Without a certificate of ours the server ends the handshake, and the log says what it said."""
    with Rsyslog(lab) as receiver:
        sink = tls_sink(lab)
        del sink["cert_file"], sink["key_file"]
        daemon = start_daemon(with_sinks(sink))
        refused_for(daemon, receiver, client, f"tls://{NAME}:{PORTS['tls']}: ")


def test_a_certificate_that_cannot_be_read_is_named(start_daemon, client, lab):
    """The key, the file, and what is wrong with it; the daemon serves all the same."""
    daemon = start_daemon(with_sinks(tls_sink(lab, ca_file=str(lab.directory / "no-such.pem"), address=f"{ADDRESS}:53")))
    daemon.wait_log(f"ca_file {lab.directory}/no-such.pem: No such file or directory")
    assert client.curl("-4", "https://first.allowed.example/").status == 200


def test_a_renewed_certificate_is_taken_without_a_reload(start_daemon, client, lab):
    """Files are read anew for each connection: first a certificate that the server does not take, then one that it does."""
    certificate, key = (lab.directory / f"rotated.{kind}" for kind in ("pem", "key"))
    make_other_ca(lab, "older-ca")
    for path, source in zip((certificate, key), make_certificate(lab, "older", alternatives="DNS:nva.example", ca="older-ca")):
        shutil.copy(source, path)
    with Rsyslog(lab) as receiver:
        daemon = start_daemon(with_sinks(tls_sink(lab, cert_file=str(certificate), key_file=str(key))))
        refused_for(daemon, receiver, client, f"tls://{NAME}:{PORTS['tls']}: ")
        for path, source in zip((certificate, key), make_certificate(lab, "newer", alternatives="DNS:nva.example")):
            shutil.copy(source, path)
        wait_for(lambda: len(receiver.whole_lines()) == 1, f"the record, after the certificate was renewed\n{daemon.log()}", 40)
