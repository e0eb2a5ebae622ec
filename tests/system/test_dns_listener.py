"""The DNS listener, asked by real clients (dig, kdig, drill), and by sockets of the test where those cannot be made to."""

import contextlib
import itertools
import re
import select
import socket
import struct
import threading
import time

import pytest

from lab import wait_for
from origins import DNS_ADDRESS
from test_admin import listening, of_sink

V4, V6 = "198.18.2.1", "2001:db8:2::1"
FAMILIES = pytest.mark.parametrize("server", [V4, V6], ids=["ipv4", "ipv6"])
MONITOR = "global.handler.control.monitor.azure.com"
FIELDS_ALWAYS = {"seq", "instance", "time", "event", "action", "reason", "cluster", "protocol", "listener", "client_ip", "client_port",
                 "fqdn", "duration_ms", "query_id", "query_type", "query_class", "request_size", "response_code", "response_flags",
                 "response_size"}


@pytest.fixture
def serve(start_daemon):
    """A function that starts a daemon with the DNS listener; keyword arguments change the cluster."""
    def start(server=V4, change=None, **cluster):
        def configure(config):
            config["listen"]["dns"] = {"address": server, "port": 53}
            config["clusters"][0].update(cluster)
            if change is not None:
                change(config)
        return start_daemon(configure)
    return start


class Dig:
    """What dig got."""

    def __init__(self, lab, server, *arguments, namespace=None):
        completed = (namespace or lab.spoke).run("dig", "+time=3", "+tries=1", f"@{server}", *arguments)
        self.text = completed.stdout
        self.status = (re.search(r"status: (\w+)", self.text) or ["", ""])[1]
        self.ede = "\n".join(re.findall(r"; EDE: (.*)", self.text))
        self.question = (re.search(r";; QUESTION SECTION:\n;(\S+)", self.text) or ["", ""])[1]
        answer = re.search(r";; ANSWER SECTION:\n(.*?)\n\n", self.text, re.DOTALL)
        self.answers = [line.split() for line in answer[1].splitlines()] if answer else []
        self.data = [" ".join(fields[4:]) for fields in self.answers]

    def __repr__(self):
        return self.text


def query(number, name, kind=1):
    """A DNS message without EDNS."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def framed(message):
    return struct.pack("!H", len(message)) + message


def read_framed(connection):
    """One response of a TCP connection."""
    received = b""
    while len(received) < 2 or len(received) < 2 + struct.unpack("!H", received[:2])[0]:
        piece = connection.recv(2 if len(received) < 2 else 2 + struct.unpack("!H", received[:2])[0] - len(received))
        assert piece, "the connection ended"
        received += piece
    return received[2:]


@FAMILIES
def test_an_allowed_name_is_answered(serve, lab, server):
    """dig gets A and AAAA records of a name that an application rule allows, over both transports; the record says so."""
    daemon = serve(server)
    name = "first.allowed.example"
    assert Dig(lab, server, name).data == [lab.zone.v4(name)]
    assert Dig(lab, server, "+tcp", name, "AAAA").data == [lab.zone.v6(name)]
    record = daemon.expect_one_record(query_type="A", fqdn=name)
    assert set(record) == FIELDS_ALWAYS | {"feature", "rule", "edns_size", "dnssec_ok"}
    assert (record["event"], record["action"], record["reason"]) == ("query", "allow", "completed")
    assert (record["protocol"], record["listener"], record["query_class"]) == ("dns", "dns", "IN")
    assert (record["response_code"], record["response_flags"]) == ("NOERROR", "qr,rd,ra")
    assert (record["cluster"], record["feature"]) == ("prod-weu", "allow")
    assert record["client_ip"] == ("198.18.1.10" if server == V4 else "2001:db8:1::10")
    assert 40 < record["request_size"] < 80 and 60 < record["response_size"] < 100
    assert (record["edns_size"], record["dnssec_ok"]) == (1232, False)
    daemon.expect_one_record(query_type="AAAA", fqdn=name)


@FAMILIES
def test_a_refused_name_asks_nobody(serve, lab, server):
    """REFUSED with an extended error that says what would have allowed it; no DNS packet leaves."""
    daemon = serve(server)
    wait_for(lambda: Dig(lab, server, "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io").status == "NOERROR", "answer")
    before = lab.counted("queries")
    for arguments in ([MONITOR], ["+tcp", MONITOR], [MONITOR, "AAAA"], [MONITOR, "HTTPS"], [MONITOR, "TXT"]):
        reply = Dig(lab, server, *arguments)
        assert reply.status == "REFUSED" and not reply.answers, reply
        assert reply.ede == ("15 (Blocked): (aksegressd: no-rule; allowed by feature 'monitor', not enabled for cluster "
                             "'prod-weu')"), reply
    assert lab.counted("queries") == before
    records = [daemon.expect_one_record(fqdn=MONITOR, query_type=kind, action="deny", reason="no-rule") for kind in ("AAAA", "HTTPS", "TXT")]
    assert all("feature 'monitor'" in record["hint"] and record["response_code"] == "REFUSED" for record in records)


def test_real_clients_agree(serve, lab):
    """kdig over TCP and drill read the same as dig; drill without EDNS."""
    serve()
    kdig = lab.spoke.run("kdig", "+tcp", f"@{V4}", "first.allowed.example", "A").stdout
    drill = lab.spoke.run("drill", f"@{V4}", "first.allowed.example", "A").stdout
    refused = lab.spoke.run("drill", "-b", "1232", f"@{V4}", MONITOR).stdout
    assert lab.zone.v4("first.allowed.example") in kdig and "NOERROR" in kdig
    assert lab.zone.v4("first.allowed.example") in drill and "NOERROR" in drill
    assert "REFUSED" in refused


@FAMILIES
def test_a_source_in_no_cluster_learns_nothing(serve, lab, server):
    """A stranger gets REFUSED for whatever it asks, Prohibited, and one record each without a cluster."""
    daemon = serve(server)
    before = lab.counted("queries")
    for name in ("first.allowed.example", MONITOR):
        reply = Dig(lab, server, name, namespace=lab.stranger)
        assert (reply.status, reply.answers) == ("REFUSED", []), reply
        assert reply.ede.startswith("18 (Prohibited): (aksegressd: unknown-source; "), reply
        record = daemon.expect_one_record(fqdn=name, reason="unknown-source")
        assert (record["action"], record["cluster"] if "cluster" in record else "") == ("deny", "")
    assert lab.counted("queries") <= before + 2  # the daemon's own, of the API server's name


def test_a_name_that_is_not_there_stays_so(serve, lab):
    """NXDOMAIN and empty answers pass with their SOA, as completed queries."""
    daemon = serve()
    reply = Dig(lab, V4, "nowhere.allowed.example")
    assert reply.status == "NXDOMAIN" and "SOA" in reply.text
    record = daemon.expect_one_record(fqdn="nowhere.allowed.example")
    assert (record["action"], record["reason"], record["response_code"]) == ("allow", "completed", "NXDOMAIN")
    reply = Dig(lab, V4, "nodata.allowed.example")
    assert (reply.status, reply.answers) == ("NOERROR", []) and "SOA" in reply.text


def test_chains_of_names_are_answered_for_the_name_asked(serve, lab):
    """The alias is what the policy judges; what it leads to comes with it."""
    serve(allow=["https alias.allowed.example:443"])
    reply = Dig(lab, V4, "alias.allowed.example")
    assert [fields[3] for fields in reply.answers] == ["CNAME", "A"]
    assert reply.data[1] == lab.zone.v4("first.allowed.example")
    assert Dig(lab, V4, "first.allowed.example").status == "REFUSED"


@FAMILIES
def test_what_does_not_fit_comes_over_tcp(serve, lab, server):
    """60 AAAA records: truncated for 1232 bytes of UDP and for 512, whole over TCP, which dig turns to by itself."""
    daemon = serve(server)
    reply = Dig(lab, server, "+ignore", "large.allowed.example", "AAAA")
    assert " tc" in reply.text and 0 < len(reply.answers) < 60
    reply = Dig(lab, server, "+ignore", "+noedns", "large.allowed.example", "AAAA")
    assert " tc" in reply.text and int(re.search(r"MSG SIZE  rcvd: (\d+)", reply.text)[1]) <= 512
    reply = Dig(lab, server, "large.allowed.example", "AAAA")
    assert "Truncated, retrying in TCP mode" in reply.text and len(reply.answers) == 60
    assert daemon.wait_record(response_flags="qr,tc,rd,ra")


@FAMILIES
def test_a_tcp_connection_stays_open_while_idle(serve, lab, server):
    """LocalDNS keeps its connections: one without a query outlives timeouts.inspect, and then asks."""
    daemon = serve(server, change=lambda config: config["timeouts"].update(inspect="500ms"))
    with lab.spoke.connect(server, 53) as connection:
        connection.sendall(framed(query(1, "first.allowed.example")))
        assert read_framed(connection)[:2] == b"\0\1"
        assert select.select([connection], [], [], 2) == ([], [], [])
        connection.sendall(framed(query(2, "second.allowed.example")))
        assert read_framed(connection)[:2] == b"\0\2"
    daemon.expect_one_record(query_id=2, reason="completed")


def test_queries_in_one_segment_are_all_answered(serve, lab):
    """300 queries at once on one connection: more than may be under way, none lost."""
    daemon = serve()
    names = ["first.allowed.example", "nowhere.allowed.example", MONITOR]
    with lab.spoke.connect(V4, 53) as connection:
        connection.sendall(b"".join(framed(query(number, names[number % 3])) for number in range(300)))
        seen = {struct.unpack("!H", read_framed(connection)[:2])[0] for _ in range(300)}
    assert seen == set(range(300))
    wait_for(lambda: len(daemon.matching(event="query")) == 300, "300 records")


def test_the_client_s_spelling_comes_back(serve, lab):
    """Clients check the random capitals of their question (DNS 0x20); records and rules have one form."""
    daemon = serve()
    reply = Dig(lab, V4, "FIRST.aLLowed.exAMPle")
    assert (reply.question, reply.status) == ("FIRST.aLLowed.exAMPle.", "NOERROR")
    assert reply.answers[0][0] == "FIRST.aLLowed.exAMPle."
    daemon.expect_one_record(fqdn="first.allowed.example")


def test_a_forward_zone_needs_no_rule_and_may_be_private(serve, lab):
    """Names in forward_zones are answered with private addresses, but never with the platform's."""
    zones = {"corp.example": [DNS_ADDRESS]}
    daemon = serve(change=lambda config: config["resolver"].update(forward_zones=zones))
    assert Dig(lab, V4, "host.corp.example").data == ["10.30.0.5"]
    assert daemon.expect_one_record(fqdn="host.corp.example")["feature"] == "forward_zones"
    assert Dig(lab, V4, "platform.corp.example").status == "REFUSED"
    daemon.expect_one_record(fqdn="platform.corp.example", reason="platform-address", action="deny")


def test_addresses_that_may_not_be_dialled_are_not_told(serve, lab):
    """Private ones are left out, listed ones are not; the platform's are never told; where none is left, REFUSED says why."""
    daemon = serve(private_destinations=["10.20.30.41/32", "0.0.0.0/1", "128.0.0.0/2"])
    assert Dig(lab, V4, "partly-platform.allowed.example").data == ["203.0.113.210"]
    reply = Dig(lab, V4, "platform.allowed.example")
    assert (reply.status, reply.answers) == ("REFUSED", [])
    assert "platform-address; 168.63.129.16 is an Azure platform address" in reply.ede
    daemon.expect_one_record(fqdn="platform.allowed.example", reason="platform-address", action="deny")
    assert sorted(Dig(lab, V4, "partly-private.allowed.example").data) == ["10.20.30.41", "203.0.113.210"]
    reply = Dig(lab, V4, "private.allowed.example", "AAAA")
    assert reply.status == "REFUSED" and "list its prefix under private_destinations of cluster 'prod-weu'" in reply.ede
    daemon.expect_one_record(fqdn="private.allowed.example", reason="forbidden-address", action="deny")


def test_https_records_lose_ech_and_private_hints(serve, lab):
    """A client with ech would hide its name from the policy; hints are addresses like others."""
    serve()
    reply = Dig(lab, V4, "service.allowed.example", "HTTPS")
    assert len(reply.data) == 1 and "alpn=\"h2\"" in reply.data[0], reply
    assert "ech" not in reply.data[0]
    assert "ipv4hint=203.0.113.210" in reply.data[0] and "10.20.30.40" not in reply.data[0]


@pytest.mark.parametrize("mode", ["audit", "off"])
def test_dns_filter(serve, lab, mode):
    """audit answers and records what would have been refused; off answers; the platform's addresses are told by neither."""
    daemon = serve(dns_filter=mode)
    assert Dig(lab, V4, MONITOR).data == [lab.zone.v4(MONITOR)]
    record = daemon.expect_one_record(fqdn=MONITOR)
    assert (record["action"], record["reason"]) == (("audit", "no-rule") if mode == "audit" else ("allow", "completed"))
    assert Dig(lab, V4, "private.allowed.example").data == ["10.20.30.40"]
    record = daemon.expect_one_record(fqdn="private.allowed.example")
    assert (record["action"], record["reason"]) == (("audit", "forbidden-address") if mode == "audit" else ("allow", "completed"))
    assert Dig(lab, V4, "platform.allowed.example").status == "REFUSED"
    daemon.expect_one_record(fqdn="platform.allowed.example", action="deny", reason="platform-address")


def test_trouble_upstream_is_told_and_recorded(serve, lab):
    """A server that fails is SERVFAIL at once, one that is silent after timeouts.resolve; each with its reason."""
    daemon = serve(allow=["https *.servfail.example:443", "https *.allowed.example:443"])
    reply = Dig(lab, V4, "broken.servfail.example")
    assert reply.status == "SERVFAIL" and "resolve-failed" in reply.ede
    record = daemon.expect_one_record(fqdn="broken.servfail.example")
    assert (record["action"], record["reason"], record["response_code"]) == ("allow", "resolve-failed", "SERVFAIL")
    with lab.silenced(DNS_ADDRESS):
        reply = Dig(lab, V4, "third.allowed.example")
    assert reply.status == "SERVFAIL" and "resolve-timeout" in reply.ede
    record = daemon.expect_one_record(fqdn="third.allowed.example")
    assert (record["reason"], record["response_code"]) == ("resolve-timeout", "SERVFAIL") and 1500 < record["duration_ms"] < 3500


def test_what_is_no_usable_query(serve, lab):
    """Other classes, zone transfers, ANY, EDNS of the future, unassigned opcodes, broken bytes: an answer that says so."""
    daemon = serve()
    before = lab.counted("queries")
    name = "first.allowed.example"
    for status, *arguments in [["REFUSED", "version.bind", "CH", "TXT"], ["NOTIMP", name, "ANY"], ["NOTIMP", "+tcp", "+notcp", name, "MAILB"],
                               ["BADVERS", "+edns=1", "+noednsnegotiation", name], ["NOTIMP", "+opcode=4", name]]:
        assert Dig(lab, V4, *arguments).status == status
    assert "Transfer failed" in Dig(lab, V4, name, "AXFR").text
    assert len(daemon.matching(reason="bad-query", action="deny")) == 6
    with lab.spoke.socket(kind=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((V4, 53))
        client.send(query(7, name) + b"x")
        assert client.recv(512)[:4] == b"\0\7\x81\x81"  # FORMERR
        client.send(b"\0\1\2")  # no answer: it is no query
        client.send(query(8, name))
        assert client.recv(512)[:2] == b"\0\x08"
    assert lab.counted("queries") <= before + 3
    wait_for(lambda: len(daemon.matching(reason="bad-query")) == 8, "8 records of bad queries")


def test_addresses_of_network_rules_are_in_the_kernel_before_the_answer(serve, lab):
    """The client that has the answer can use it: the set holds the address already."""
    serve(allow=["udp *.allowed.example:123"])
    for name in ("first.allowed.example", "second.allowed.example", "first.allowed.example"):
        assert Dig(lab, V4, name).data == [lab.zone.v4(name)]
        listing = lab.nva.run("nft", "list", "set", "inet", "aksegressd", "learned.udp.123.prod-weu.v4", check=True).stdout
        assert lab.zone.v4(name) in listing
    hint = Dig(lab, V4, "service.allowed.example", "HTTPS")
    assert hint.status == "NOERROR"
    listing = lab.nva.run("nft", "list", "set", "inet", "aksegressd", "learned.udp.123.prod-weu.v4", check=True).stdout
    assert "203.0.113.210" in listing


class Asker(threading.Thread):
    """Asks over UDP, one query after the other, until it is told to stop; counts what did not come back as it should.

    names: one for each query; by default a few that are soon in the cache.
    """

    KNOWN = ["first.allowed.example", "second.allowed.example", "nowhere.allowed.example"]

    def __init__(self, lab, names=None):
        super().__init__(daemon=True)
        self.names = names or itertools.cycle(self.KNOWN)
        self.socket = lab.spoke.socket(kind=socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.connect((V4, 53))
        self.stopping = threading.Event()
        self.asked = 0
        self.wrong = []
        self.longest_s = 0

    def run(self):
        while not self.stopping.is_set():
            number = self.asked % 65536
            began = time.monotonic()
            self.socket.send(query(number, next(self.names)))
            try:
                reply = self.socket.recv(512)
            except TimeoutError:
                reply = b""
            if reply[:2] != struct.pack("!H", number) or reply[3] & 15 not in (0, 3):
                self.wrong.append((number, reply))
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.asked += 1

    def stop(self):
        self.stopping.set()
        self.join(10)
        self.socket.close()


def test_reloading_loses_no_query(serve, lab):
    """While clients ask without a pause, the policy changes five times; every query is answered, by one policy or the next, and
    has a record or is counted as lost (where a sanitizer slows down who writes them)."""
    daemon = serve(change=listening)
    askers = [Asker(lab) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for asker in askers:
            stack.callback(asker.stop)
            asker.start()
        for step in range(5):
            wait_for(lambda: all(asker.asked > 50 * (step + 1) for asker in askers), "queries")
            assert Dig(lab, V4, "example.com").status == ("NOERROR" if step % 2 else "REFUSED")
            daemon.config["clusters"][0]["allow"] = ["https *.allowed.example:443"] + (["https example.com:443"] if step % 2 == 0 else [])
            daemon.reload()
    assert [asker.wrong for asker in askers] == [[]] * 4
    asked = sum(asker.asked for asker in askers) + 5

    def told():
        return len(daemon.matching(event="query")) + of_sink(lab, "records_lost_total", daemon.records_path)
    wait_for(lambda: told() == asked, f"{asked} records", 30)


def test_reading_a_long_list_keeps_no_query_waiting(serve, lab):
    """While the main thread reads a file of 300,000 rules again and again, workers go on answering, from the cache and from servers."""
    path = lab.directory / "long-list.txt"
    path.write_text("".join(f"host-{number}.listed.example\n" for number in range(300000)))
    daemon = serve(allow=["https *.allowed.example:443", f"file:{path}"])
    askers = [Asker(lab, names) for names in (None, None, *((f"new-{number}-{client}.allowed.example" for number in itertools.count())
                                                            for client in range(2)))]
    with contextlib.ExitStack() as stack:
        for asker in askers:
            stack.callback(asker.stop)
            asker.start()
        for step in range(3):
            with open(path, "a") as stream:
                stream.write(f"step-{step}.listed.example\n")
            assert Dig(lab, V4, f"step-{step}.listed.example").status == "REFUSED"
            before = [asker.asked for asker in askers]
            daemon.reload(timeout=60)
            answered = [asker.asked - count for asker, count in zip(askers, before)]
            assert Dig(lab, V4, f"step-{step}.listed.example").status == "NXDOMAIN"
            assert min(answered) > 50, f"{answered} answers during the reload"
    assert [asker.wrong for asker in askers] == [[]] * 4
    assert max(asker.longest_s for asker in askers) < 2, "longer than timeouts.resolve"


def test_draining_answers_what_was_asked(serve, lab):
    """SIGTERM: the query under way is answered, idle connections are closed, and the daemon ends before its drain is over."""
    daemon = serve(change=lambda config: config.update(drain="30s"))
    with lab.spoke.connect(V4, 53) as idle, lab.spoke.connect(V4, 53) as waiting:
        with lab.silenced(DNS_ADDRESS):
            waiting.sendall(framed(query(3, "third.allowed.example")))
            wait_for(lambda: "53" in lab.nva.run("ss", "-Hun", "dst", DNS_ADDRESS).stdout, "question to the server")
            daemon.send(15)
            assert idle.recv(1) == b""
            assert read_framed(waiting)[:2] == b"\0\3"
            assert waiting.recv(1) == b""
        daemon.finish(timeout=10)
    daemon.expect_one_record(query_id=3)


def test_dns_may_be_all_that_is_served(serve, lab):
    """A configuration with listen.dns alone starts, touches no kernel rule, and answers."""
    def only_dns(config):
        config["listen"] = {"dns": {"address": V4, "port": 53}}
        config["resolver"]["servers"] = [DNS_ADDRESS]
    lab.nva.run("nft", "delete", "table", "inet", "aksegressd")  # what the test before has left
    serve(change=only_dns)
    assert Dig(lab, V4, "first.allowed.example").status == "NOERROR"
    assert "aksegressd" not in lab.nva.run("nft", "list", "tables").stdout


def test_the_proxy_does_not_connect_to_the_dns_listener(serve, lab, client):
    """It is a listener of ours, whatever private_destinations says."""
    daemon = serve(allow=["https own.allowed.example:53"], private_destinations=["198.18.0.0/16"])
    assert daemon.config["listen"]["proxy"]
    reply = client.curl("-x", "http://198.18.1.1:3128", "https://own.allowed.example:53/", "--max-time", "5")
    assert reply.connect_status != 200


def test_another_listener_on_the_port_is_an_error(serve, lab, start_daemon):
    """A DNS server that is there already (systemd-resolved) is named when the start fails, and a reload cannot move the listener."""
    daemon = serve()
    daemon.config["listen"]["dns"]["port"] = 5353
    daemon.reload()
    assert "reload failed: listen.dns changed, which needs a restart" in daemon.log()
    with pytest.raises(RuntimeError, match="listen.dns: cannot listen on UDP 198.18.2.1:53: Address already in use"):
        def second(config):
            config["listen"] = {"dns": {"address": V4, "port": 53}}
            config["logging"][0]["path"] += ".second"
        start_daemon(second)
