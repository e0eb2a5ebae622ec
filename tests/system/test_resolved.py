"""systemd-resolved as a client of the DNS listener: nodes that are given the NVA as DNS server ask through it."""

import pytest

from resolved import STUB, Resolved, program
from test_dns_listener import FAMILIES, MONITOR, V4, Dig, serve  # noqa: F401

pytestmark = pytest.mark.skipif(program() is None, reason="this distribution's systemd-resolved could not be had")
EDNS_SIZES = {1472, 1452}  # what resolved says it takes: an Ethernet frame less the headers of IPv4, IPv6


def asked(daemon, name, kind="A"):
    """The records of resolved's queries for a name, in order: with EDNS, or none where it doubts that the server understands it."""
    records = daemon.matching(fqdn=name, query_type=kind)
    assert {record["client_ip"] for record in records} <= {"198.18.1.10", "2001:db8:1::10"}
    assert {record["edns_size"] for record in records if "edns_size" in record} <= EDNS_SIZES
    assert not any(record.get("dnssec_ok") for record in records)
    return records


@FAMILIES
@pytest.mark.parametrize("over_tls", ["no", "opportunistic"])
def test_an_allowed_name_is_answered(serve, lab, server, over_tls):
    """Both families, one query each; a resolved that would like TLS finds that port closed and does without."""
    daemon = serve(server)
    with Resolved(lab, lab.spoke, server, DNSOverTLS=over_tls):
        assert Dig(lab, STUB, "first.allowed.example").data == [lab.zone.v4("first.allowed.example")]
        assert Dig(lab, STUB, "+tcp", "first.allowed.example", "AAAA").data == [lab.zone.v6("first.allowed.example")]
    for kind in ("A", "AAAA"):
        record, = asked(daemon, "first.allowed.example", kind)
        assert (record["action"], record["reason"], record["edns_size"] in EDNS_SIZES) == ("allow", "completed", True)


@FAMILIES
def test_a_refused_name_stays_refused(serve, lab, server):
    """The stub says REFUSED, each time after one query to the listener, which leaves one record; others are answered meanwhile."""
    daemon = serve(server)
    with Resolved(lab, lab.spoke, server):
        for kind in ("A", "AAAA", "HTTPS"):
            reply = Dig(lab, STUB, MONITOR, kind)
            assert (reply.status, reply.answers) == ("REFUSED", []), reply
            record, = asked(daemon, MONITOR, kind)
            assert (record["action"], record["reason"], record["response_code"]) == ("deny", "no-rule", "REFUSED")
            assert "feature 'monitor'" in record["hint"]
        assert Dig(lab, STUB, "first.allowed.example").status == "NOERROR"


@FAMILIES
def test_what_does_not_fit_comes_over_tcp(serve, lab, server):
    """60 records: resolved sees that its answer was cut, asks again over TCP, and has them all."""
    daemon = serve(server)
    with Resolved(lab, lab.spoke, server):
        assert len(Dig(lab, STUB, "+tcp", "large.allowed.example", "AAAA").answers) == 60
    flags = [record["response_flags"] for record in asked(daemon, "large.allowed.example", "AAAA")]
    assert flags == ["qr,tc,rd,ra", "qr,rd,ra"]


def test_a_name_that_is_not_there_stays_so(serve, lab):
    """NXDOMAIN makes resolved ask once more without EDNS; it hears the same."""
    daemon = serve()
    with Resolved(lab, lab.spoke, V4):
        assert Dig(lab, STUB, "nowhere.allowed.example").status == "NXDOMAIN"
    records = asked(daemon, "nowhere.allowed.example")
    assert {record["response_code"] for record in records} == {"NXDOMAIN"} and 1 <= len(records) <= 2


def test_trouble_with_one_name_does_not_spoil_the_server(serve, lab):
    """SERVFAIL lets resolved probe with less and less of EDNS, which helps that name as little; others are answered as before."""
    daemon = serve(allow=["https *.servfail.example:443", "https *.allowed.example:443"])
    with Resolved(lab, lab.spoke, V4):
        assert Dig(lab, STUB, "broken.servfail.example").status == "SERVFAIL"
        records = asked(daemon, "broken.servfail.example")
        assert {record["reason"] for record in records} == {"resolve-failed"}
        assert {"edns_size" in record for record in records} == {True, False}
        assert Dig(lab, STUB, "second.allowed.example").data == [lab.zone.v4("second.allowed.example")]
        assert Dig(lab, STUB, MONITOR).status == "REFUSED"
