"""Traffic that is steered to the daemon: TLS by SNI, cleartext HTTP by Host, both families, real clients."""

import fcntl
import socket
import struct
import termios

import pytest

from clients import hello, raw_hello, read_all, refused_alert
from lab import POOL_V4, POOL_V6, wait_for
from odd_origins import ODD, Origin, note_chunks, reset, speak_first, take_all
from origins import IMAGE

POOL = {4: POOL_V4, 6: POOL_V6}
FAMILIES = pytest.mark.parametrize("family", (4, 6))


def check_record(record, answer, family):
    """The record says what the origin saw."""
    assert answer.peer in POOL[family]
    assert (record["snat_ip"], str(record["snat_port"])) == (answer.peer, answer.port)
    assert record["client_ip"] == {4: "198.18.1.10", 6: "2001:db8:1::10"}[family]
    assert record["reason"] == "completed"
    assert record["listener"] == "transparent"
    assert record["cluster"] == "prod-weu"


@FAMILIES
def test_tls_to_an_allowed_name_goes_out_from_the_pool(daemon, client, lab, family):
    """curl reaches mcr.microsoft.com; the origin sees a pool address, and the record agrees with it."""
    answer = client.curl(f"-{family}", "https://mcr.microsoft.com/")
    assert (answer.status, answer.sni) == (200, "mcr.microsoft.com"), answer
    record = daemon.expect_one_record(fqdn="mcr.microsoft.com")
    check_record(record, answer, family)
    assert (record["action"], record["feature"], record["protocol"]) == ("allow", "core", "https")
    assert record["rule"].startswith("core.allow:")
    zone = lab.zone
    assert record["original_ip"] == (zone.v6("mcr.microsoft.com") if family == 6 else zone.v4("mcr.microsoft.com"))
    assert record["destination_ip"] == record["original_ip"]
    assert record["destination_port"] == 443


@FAMILIES
def test_tls_to_another_name_is_refused_with_an_alert(daemon, client, lab, family):
    """A name that no rule allows gets unrecognized_name, and not one packet reaches an origin."""
    before = lab.counted("connections")
    assert refused_alert(client.connect("example.com", family=family), hello("example.com")) == "unrecognized_name"
    record = daemon.expect_one_record(fqdn="example.com")
    assert (record["action"], record["reason"]) == ("deny", "no-rule")
    assert "snat_ip" not in record
    assert lab.counted("connections") == before


@FAMILIES
def test_cleartext_http_is_allowed_by_host(daemon, client, family):
    """curl fetches from security.ubuntu.com over port 80."""
    answer = client.curl(f"-{family}", "http://security.ubuntu.com/ubuntu/")
    assert (answer.status, answer.uri) == (200, "/ubuntu/"), answer
    record = daemon.expect_one_record(fqdn="security.ubuntu.com")
    check_record(record, answer, family)
    assert (record["protocol"], record["feature"]) == ("http", "ubuntu-updates")


def test_cleartext_http_to_another_host_reads_why(daemon, client):
    """The 403 names the reason, and the id of its record."""
    answer = client.curl("http://example.com/")
    assert answer.status == 403, answer
    record = daemon.expect_one_record(fqdn="example.com")
    assert record["reason"] == "no-rule"
    assert "no-rule" in answer.body
    assert record["connection_id"] in answer.body


def test_every_request_on_a_connection_is_decided(daemon, client):
    """After an allowed request the next one on the same connection may still be refused."""
    with client.connect("first.allowed.example", 80) as connection:
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: first.allowed.example\r\n\r\nGET /b HTTP/1.1\r\nHost: example.com\r\n\r\n")
        received, _ = read_all(connection)
    assert b"uri=/a" in received
    assert b"HTTP/1.1 403" in received
    assert b"uri=/b" not in received
    assert daemon.expect_one_record(fqdn="first.allowed.example")["action"] == "allow"
    assert daemon.expect_one_record(fqdn="example.com")["reason"] == "no-rule"


@pytest.mark.parametrize("version, option", (("1.1", "--http1.1"), ("2", "--http2")))
def test_alpn_passes_unchanged(daemon, client, version, option):
    """HTTP/2 and HTTP/1.1 are negotiated between client and origin; the record knows the client's offer."""
    answer = client.curl(option, "https://packages.microsoft.com/")
    assert (answer.status, answer.http_version) == (200, version), answer
    record = daemon.expect_one_record(fqdn="packages.microsoft.com")
    assert record["alpn"] == {"1.1": "http/1.1", "2": "h2,http/1.1"}[version]
    assert record["ech"] is False


def test_wget_downloads(daemon, lab):
    """wget gets a file over HTTPS and over HTTP."""
    for url in ("https://packages.microsoft.com/file/big", "http://security.ubuntu.com/file/big"):
        done = lab.spoke.run("wget", "-nv", "-O", lab.directory / "wget", f"--ca-certificate={lab.directory}/ca.pem", "-t", "1", url)
        assert done.returncode == 0, done.stderr
        assert (lab.directory / "wget").stat().st_size == 64 * 1024 * 1024
    record = daemon.expect_one_record(fqdn="packages.microsoft.com")
    assert record["bytes_in"] > 64 * 1024 * 1024
    daemon.expect_one_record(fqdn="security.ubuntu.com")


def test_a_long_stream_arrives_unchanged(daemon, client, lab):
    """What an origin receives is, byte by byte, what the client sent; half-close passes on."""
    record = b"\x17\x03\x03\x40\x00" + bytes(range(256)) * 64
    sent = hello("odd.allowed.example") + record * 640
    with Origin(lab, take_all) as origin:
        with client.connect("odd.allowed.example") as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            origin.wait(lambda it: it.received)
            assert read_all(connection)[0] == b""
        assert origin.received[0] == sent
    record = daemon.expect_one_record(fqdn="odd.allowed.example")
    assert record["bytes_out"] == len(sent)


def unacknowledged_bytes(connection):
    """What was sent and is not yet the other side's (tcp(7), SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


def test_what_an_origin_sent_before_its_reset_arrives(daemon, client, lab):
    """A reset of the origin does not take along what the client has not yet taken of its bytes."""
    payload = b"\x17\x03\x03\x40\x00" + bytes(16384)
    sent = payload * 10

    def handler(connection, origin):
        connection.recv(65536)
        connection.sendall(sent)
        wait_for(lambda: unacknowledged_bytes(connection) == 0, "the daemon's taking all of it")
        reset(connection)
        origin.note(b"reset")

    with Origin(lab, handler) as origin, client.connect("odd.allowed.example") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(hello("odd.allowed.example"))
        origin.wait(lambda it: it.received)
        daemon.expect_one_record(reason="upstream-aborted")
        assert len(read_all(connection)[0]) == len(sent)


def test_openssl_completes_a_handshake(daemon, lab):
    """openssl s_client verifies the origin's own certificate: nothing was decrypted on the way."""
    address = lab.zone.v4("login.microsoftonline.com")
    done = lab.spoke.run("openssl", "s_client", "-connect", f"{address}:443", "-servername", "login.microsoftonline.com", "-CAfile",
                         lab.directory / "ca.pem", "-verify_return_error", "-verify_hostname", "login.microsoftonline.com", input="")
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    daemon.expect_one_record(fqdn="login.microsoftonline.com", action="allow")


def test_openssl_reads_why_it_is_refused(daemon, lab):
    """openssl s_client shows the alert by name."""
    done = lab.spoke.run("openssl", "s_client", "-connect", f"{lab.zone.v4('example.com')}:443", "-servername", "example.com", input="")
    assert "unrecognized name" in done.stderr, done.stdout + done.stderr
    daemon.expect_one_record(fqdn="example.com", reason="no-rule")


def test_skopeo_pulls_an_image(daemon, lab):
    """A real registry client follows the registry's redirect to its data name and gets every blob."""
    target = lab.directory / "test-pulled"
    done = lab.spoke.run("skopeo", "copy", "--insecure-policy", f"docker://{IMAGE}", f"dir:{target}")
    assert done.returncode == 0, done.stderr
    assert (target / "manifest.json").exists()
    daemon.wait_record(fqdn="mcr.microsoft.com", action="allow")
    daemon.wait_record(fqdn="westeurope.data.mcr.microsoft.com", action="allow")


def test_an_allowed_name_over_another_address_gains_nothing(daemon, client, lab):
    """A client that dials example.com's address with an allowed SNI ends up at the allowed name's own address."""
    lie = f"packages.microsoft.com:443:{lab.zone.v4('example.com')}"
    answer = client.curl("--resolve", lie, "https://packages.microsoft.com/lie")
    assert answer.status == 200, answer
    entry = next(entry for entry in lab.origins.access_log() if entry["uri"] == "/lie")
    own = (lab.zone.v4("packages.microsoft.com"), lab.zone.v6("packages.microsoft.com"))
    assert entry["server"] in own
    record = daemon.expect_one_record(fqdn="packages.microsoft.com")
    assert record["original_ip"] == lab.zone.v4("example.com")
    assert record["destination_ip"] in own


def test_a_network_rule_dials_at_once(start_daemon, lab):
    """Where a tcp rule covers the address on a steered port the server may speak first, and no name is needed."""
    def change(config):
        config["clusters"][0]["allow"].append(f"tcp [{ODD}]:443")

    daemon = start_daemon(change)
    with Origin(lab, speak_first(b"220 ready\r\n")) as origin, lab.spoke.connect(ODD, 443) as connection:
        assert connection.recv(100) == b"220 ready\r\n"
        connection.sendall(b"anything")
        assert connection.recv(100) == b"anything"
        assert origin.peers[0][0] in POOL_V4
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[0] == b""
    record = daemon.expect_one_record(destination_ip=ODD)
    assert (record["protocol"], record["action"], record["reason"]) == ("tcp", "allow", "completed")


def test_a_deny_rule_holds_where_a_network_rule_allows_the_address(start_daemon, client, lab):
    """The name in the first bytes is judged though the connection was dialled at once, and the client can read that."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"tcp [{ODD}]:80,443"))
    name = "forbidden.allowed.example"
    with Origin(lab, take_all), Origin(lab, take_all, port=80):
        assert refused_alert(lab.spoke.connect(ODD, 443), hello(name)) == "access_denied"
        with lab.spoke.connect(ODD, 80) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert read_all(connection)[0].startswith(b"HTTP/1.1 403 ")
    for protocol in ("https", "http"):
        record = daemon.expect_one_record(fqdn=name, protocol=protocol)
        assert (record["reason"], record["destination_ip"], record["bytes_out"]) == ("deny-rule", ODD, 0)


def test_a_deny_rule_goes_before_an_allow_rule(daemon, client):
    """forbidden.allowed.example is allowed by *.allowed.example and forbidden by its own rule."""
    assert refused_alert(client.connect("forbidden.allowed.example"), hello("forbidden.allowed.example")) == "access_denied"
    assert daemon.expect_one_record(fqdn="forbidden.allowed.example")["reason"] == "deny-rule"


@FAMILIES
def test_ports_that_no_rule_names_are_refused_by_the_kernel(daemon, lab, family):
    """Port 22 of an allowed host: reset at once, nothing forwarded."""
    before = lab.counted("connections")
    address = lab.zone.v6("mcr.microsoft.com") if family == 6 else lab.zone.v4("mcr.microsoft.com")
    with pytest.raises(ConnectionRefusedError):
        lab.spoke.connect(address, 22)
    assert lab.counted("connections") == before
    assert daemon.expect_one_record(reason="no-network-rule")["destination_port"] == 22


def test_the_transparent_port_cannot_be_dialled(daemon, lab):
    """Port 15001 of the NVA serves steered traffic only."""
    for address in ("198.18.1.1", "198.18.2.1", "2001:db8:1::1"):
        with pytest.raises(OSError):
            with lab.spoke.connect(address, 15001, timeout=5) as connection:
                connection.sendall(hello("mcr.microsoft.com"))
                if not read_all(connection)[0]:
                    raise ConnectionResetError
    assert all(record["action"] == "deny" for record in daemon.records())


def test_audit_lets_through_what_it_would_refuse(start_daemon, client):
    """In audit mode example.com is reached, and the record says why enforcing would have refused it."""
    def change(config):
        config["clusters"][0]["mode"] = "audit"

    daemon = start_daemon(change)
    answer = client.curl("https://example.com/")
    assert answer.status == 200, answer
    record = daemon.expect_one_record(fqdn="example.com")
    assert (record["action"], record["reason"]) == ("audit", "no-rule")


def test_two_clusters_have_their_own_rules_and_pools(start_daemon, lab, client):
    """The same name is allowed for dev and refused for prod-weu, and dev goes out from its own pool."""
    def change(config):
        config["snat_pools"] = [{"name": "main", "addresses": ["198.18.2.10-198.18.2.12"]},
                                {"name": "second", "addresses": ["198.18.2.15"]}]
        config["clusters"].append({"name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope",
                                   "snat_pool": "second", "allow": ["https example.com:443"]})

    daemon = start_daemon(change)
    done = lab.dev.run("curl", "-sS4", "https://example.com/")
    assert "peer=198.18.2.15" in done.stdout, done.stderr
    assert client.curl("-4", "https://example.com/").status == 0
    assert daemon.expect_one_record(cluster="dev-weu")["action"] == "allow"
    assert daemon.expect_one_record(cluster="prod-weu")["action"] == "deny"


def test_in_audit_mode_tls_without_a_name_goes_where_it_was_sent(start_daemon, client, lab):
    """What enforce would refuse with no-server-name reaches the address that the client dialled, and is recorded."""
    daemon = start_daemon(lambda config: config["clusters"][0].update(mode="audit"))
    first = raw_hello()
    with Origin(lab, note_chunks) as origin, client.connect("odd.allowed.example") as connection:
        connection.sendall(first)
        origin.wait(lambda it: b"".join(it.received) == first)
    record = daemon.expect_one_record(reason="no-server-name")
    assert (record["action"], record["destination_ip"], record["protocol"]) == ("audit", ODD, "https")
