"""The explicit proxy: CONNECT and absolute-form requests."""

import socket
import ssl

import pytest

from clients import alert, hello, http_response, read_all, read_until
from lab import POOL_V4, POOL_V6, wait_for
from odd_origins import ODD, ODD_V6, Origin, answer, take_all

PROXY = "http://198.18.1.1:3128"


def get(url, *fields):
    """A request in absolute-form."""
    host = url.split("/")[2]
    return "\r\n".join([f"GET {url} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def connect_request(target):
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


@pytest.mark.parametrize("option, version", (("--http1.1", "1.1"), ("--http2", "2")))
def test_connect_reaches_an_allowed_name(daemon, client, option, version):
    """curl tunnels to packages.microsoft.com."""
    reply = client.curl(option, "-x", PROXY, "https://packages.microsoft.com/x")
    assert (reply.connect_status, reply.status, reply.http_version) == (200, 200, version), reply
    assert reply.peer in POOL_V4 + POOL_V6
    record = daemon.expect_one_record(fqdn="packages.microsoft.com")
    assert (record["listener"], record["action"], record["protocol"]) == ("proxy", "allow", "https")
    assert (record["snat_ip"], str(record["snat_port"])) == (reply.peer, reply.port)
    assert "original_ip" not in record


def test_connect_to_another_name_reads_why(daemon, client):
    """CONNECT example.com:443 gets a 403 with reason and id, and no packet leaves."""
    with client.proxy() as connection:
        connection.sendall(connect_request("example.com:443"))
        status, head, body = http_response(connection)
    record = daemon.expect_one_record(fqdn="example.com")
    assert (status, record["reason"], record["destination_port"]) == (403, "no-rule", 443)
    assert record["connection_id"] in head + body.decode()
    assert "no-rule" in head + body.decode()


def test_connect_to_a_port_that_no_rule_names_is_refused(daemon, client):
    """An allowed name does not open its other ports."""
    with client.proxy() as connection:
        connection.sendall(connect_request("mcr.microsoft.com:22"))
        assert http_response(connection)[0] == 403
    assert daemon.expect_one_record(fqdn="mcr.microsoft.com")["destination_port"] == 22


def test_the_name_inside_the_tunnel_must_be_the_connect_target(daemon, client):
    """CONNECT to an allowed name with another name's hello inside: alert, and one record that names both."""
    with client.proxy() as connection:
        connection.sendall(connect_request("packages.microsoft.com:443"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        connection.sendall(hello("management.azure.com"))
        assert alert(read_all(connection)[0]) == "unrecognized_name"
    record = daemon.expect_one_record(reason="server-name-mismatch")
    assert record["fqdn"] == "packages.microsoft.com"
    assert "management.azure.com" in record["hint"]


def test_cleartext_inside_the_tunnel_is_refused(daemon, client):
    """A tunnel is for TLS: HTTP inside it ends the connection."""
    with client.proxy() as connection:
        connection.sendall(connect_request("packages.microsoft.com:443"))
        read_until(connection, b"\r\n\r\n")
        connection.sendall(b"GET / HTTP/1.1\r\nHost: packages.microsoft.com\r\n\r\n")
        assert read_all(connection)[0] == b""
    assert daemon.expect_one_record(fqdn="packages.microsoft.com")["reason"] == "unknown-protocol"


def test_a_hello_that_comes_with_the_connect_is_not_lost(daemon, client, lab):
    """CONNECT and ClientHello in one segment: the origin gets exactly the hello."""
    first = hello("odd.allowed.example")
    with Origin(lab, take_all) as origin, client.proxy() as connection:
        connection.sendall(connect_request("odd.allowed.example:443") + first)
        read_until(connection, b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        origin.wait(lambda it: it.received)
        assert origin.received == [first]
    daemon.expect_one_record(fqdn="odd.allowed.example", action="allow")


def test_absolute_form_reaches_an_allowed_host(daemon, client):
    """curl -x with http:// sends the whole URL; the origin gets the path."""
    reply = client.curl("-x", PROXY, "http://security.ubuntu.com/ubuntu/?a=b")
    assert (reply.status, reply.uri) == (200, "/ubuntu/?a=b"), reply
    record = daemon.expect_one_record(fqdn="security.ubuntu.com")
    assert (record["listener"], record["protocol"]) == ("proxy", "http")


def test_one_connection_serves_many_hosts(daemon, client):
    """Three hosts one after the other on one connection, each with a record; the refused fourth ends it."""
    names = ["first.allowed.example", "second.allowed.example", "third.allowed.example"]
    with client.proxy() as connection:
        for name in names:
            connection.sendall(get(f"http://{name}/p"))
            status, _, body = http_response(connection)
            assert status == 200
            assert f"origin={name}".encode() in body
        connection.sendall(get("http://example.com/p"))
        assert http_response(connection)[0] == 403
        assert read_all(connection)[0] == b""
    for name in names:
        assert daemon.expect_one_record(fqdn=name)["action"] == "allow"
    assert daemon.expect_one_record(fqdn="example.com")["action"] == "deny"


def test_pipelined_requests_are_answered_in_order(daemon, client):
    """Four requests in one write, to two hosts: four answers in order, four records."""
    names = ["first.allowed.example", "first.allowed.example", "second.allowed.example", "first.allowed.example"]
    with client.proxy() as connection:
        connection.sendall(b"".join(get(f"http://{name}/{index}") for index, name in enumerate(names)))
        rest = b""
        while rest.count(b"uri=/") < 4:
            rest += read_until(connection, b"uri=/")
    found = [rest.find(f"origin={name}".encode()) >= 0 and rest.find(f"uri=/{index}".encode()) for index, name in enumerate(names)]
    assert found == sorted(found) and found[0] > 0, rest
    daemon.wait_record(fqdn="second.allowed.example")
    wait_for(lambda: len(daemon.matching(fqdn="first.allowed.example", action="allow")) == 3, "three records")


def test_a_request_body_is_passed_on(daemon, client, lab):
    """POST with a length and POST in chunks arrive whole; the next request on the connection follows."""
    def handler(connection, origin):
        for end in (b"12345", b"0\r\n\r\n", b"\r\n\r\n"):
            data = b""
            while not data.endswith(end):
                data += connection.recv(65536)
            origin.note(data)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with Origin(lab, handler, port=80) as origin, client.proxy() as connection:
        connection.sendall(b"POST http://odd.allowed.example/1 HTTP/1.1\r\nHost: odd.allowed.example\r\nContent-Length: 5\r\n\r\n12345")
        assert http_response(connection)[0] == 200
        connection.sendall(b"POST http://odd.allowed.example/2 HTTP/1.1\r\nHost: odd.allowed.example\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert http_response(connection)[0] == 200
        connection.sendall(get("http://odd.allowed.example/3"))
        assert http_response(connection)[0] == 200
        assert [data.split()[1] for data in origin.received] == [b"/1", b"/2", b"/3"]
        assert b"\r\n\r\n3\r\nabc\r\n" in origin.received[1]
        assert len(origin.peers) == 1
    wait_for(lambda: len(daemon.matching(fqdn="odd.allowed.example")) == 3, "three records")


def test_an_answer_before_the_end_of_the_request_is_not_lost(daemon, client, lab):
    """An origin that answers 413 and closes while the client still sends: the client reads the answer, not a reset."""
    def handler(connection, origin):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")

    with Origin(lab, handler, port=80), client.proxy() as connection:
        connection.sendall(b"PUT http://odd.allowed.example/ HTTP/1.1\r\nHost: odd.allowed.example\r\nContent-Length: 900000\r\n\r\n")
        for _ in range(8):
            connection.sendall(bytes(100000))
        assert http_response(connection)[0] == 413
    wait_for(lambda: len(daemon.matching(fqdn="odd.allowed.example", reason="completed")) == 1, "the record")


def test_hop_by_hop_fields_stay_here(daemon, client, lab):
    """Proxy-Connection, Proxy-Authorization and what Connection names do not reach the origin."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with Origin(lab, answer(ok), port=80) as origin, client.proxy() as connection:
        connection.sendall(get("http://odd.allowed.example/", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5",
                               "Connection: X-Private", "X-Private: 1", "X-Public: 2"))
        assert http_response(connection)[0] == 200
        head = origin.received[0].lower()
    assert b"proxy-" not in head and b"x-private" not in head
    assert b"x-public: 2" in head
    daemon.expect_one_record(fqdn="odd.allowed.example")


@pytest.mark.parametrize("request_bytes", (
    b"GET http://first.allowed.example/ HTTP/1.1\r\nHost: first.allowed.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://first.allowed.example/ HTTP/1.1\r\nHost: first.allowed.example\r\nHost: example.com\r\n\r\n",
    b"GET http://first.allowed.example/ HTTP/1.1\r\nHost: first.allowed.example\r\nX: a\r\n b\r\n\r\n",
    b"GET http://first.allowed.example/ HTTP/1.1\r\nHost : first.allowed.example\r\n\r\n",
    b"GET http://first.allowed.example/ HTTP/1.1\nHost: first.allowed.example\n\n",
    b"GET http://first.allowed.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
), ids=("length-and-chunked", "two-hosts", "folded", "space-before-colon", "bare-lf", "target-against-host"))
def test_what_can_be_read_in_two_ways_is_refused(daemon, client, lab, request_bytes):
    """Requests that two servers would read differently get 400 and go nowhere."""
    before = lab.counted("connections")
    with client.proxy() as connection:
        connection.sendall(request_bytes)
        assert http_response(connection)[0] == 400
    assert daemon.wait_record(action="deny")["reason"] in ("bad-request", "bad-server-name")
    assert len(daemon.records()) == 1
    assert lab.counted("connections") == before


def test_a_websocket_upgrade_becomes_a_tunnel(daemon, client, lab):
    """After 101 the bytes of both sides pass."""
    def handler(connection, origin):
        answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")(connection, origin)
        while chunk := connection.recv(1000):
            connection.sendall(chunk.upper())
        connection.close()

    with Origin(lab, handler, port=80), client.proxy() as connection:
        connection.sendall(get("http://odd.allowed.example/", "Connection: upgrade", "Upgrade: websocket"))
        assert read_until(connection, b"hello").startswith(b"HTTP/1.1 101")
        connection.sendall(b"abc")
        assert read_until(connection, b"ABC") == b"ABC"
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[0] == b""
    daemon.expect_one_record(fqdn="odd.allowed.example", reason="completed")


def test_the_proxy_listener_is_not_for_tls_or_paths(daemon, client):
    """A TLS hello, or a request with only a path, sent to the proxy port is told that this is a proxy."""
    with client.proxy() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: mcr.microsoft.com\r\n\r\n")
        assert http_response(connection)[0] == 400
    daemon.expect_one_record(reason="not-a-proxy-request", protocol="http")
    with client.proxy() as connection:
        connection.sendall(hello("mcr.microsoft.com"))
        read_all(connection)
    daemon.expect_one_record(reason="not-a-proxy-request", protocol="https")


def test_an_address_as_target_needs_a_network_rule(start_daemon, client, lab):
    """CONNECT to an address is refused without a tcp rule for it and passes with one."""
    def change(config):
        config["clusters"][0]["allow"].append(f"tcp [{ODD}]:2222")

    daemon = start_daemon(change)
    with client.proxy() as connection:
        connection.sendall(connect_request(f"{lab.zone.v4('example.com')}:443"))
        assert http_response(connection)[0] == 403
    with Origin(lab, take_all, port=2222) as origin, client.proxy() as connection:
        connection.sendall(connect_request(f"{ODD}:2222"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"SSH-2.0-lab\r\n")
        connection.shutdown(socket.SHUT_WR)
        origin.wait(lambda it: it.received)
        assert origin.received == [b"SSH-2.0-lab\r\n"]
    record = daemon.expect_one_record(destination_ip=ODD)
    assert (record["action"], record["protocol"]) == ("allow", "tcp")


def test_a_deny_rule_holds_inside_a_tunnel_to_an_address(start_daemon, client, lab):
    """CONNECT to an address that a tcp rule opens does not open the names that a deny rule forbids there."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"tcp [{ODD}]:80,443"))
    name = "forbidden.allowed.example"
    with Origin(lab, take_all), Origin(lab, take_all, port=80):
        with client.proxy() as connection:
            connection.sendall(connect_request(f"{ODD}:443"))
            read_until(connection, b"\r\n\r\n")
            connection.sendall(hello(name))
            assert alert(read_all(connection)[0]) == "access_denied"
        with client.proxy() as connection:
            connection.sendall(connect_request(f"{ODD}:80"))
            read_until(connection, b"\r\n\r\n")
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert read_all(connection)[0].startswith(b"HTTP/1.1 403 ")
    for protocol in ("https", "http"):
        record = daemon.expect_one_record(fqdn=name, protocol=protocol)
        assert (record["reason"], record["destination_ip"], record["bytes_out"]) == ("deny-rule", ODD, 0)


@pytest.mark.parametrize("name, addresses", (("only4.allowed.example", POOL_V4), ("only6.allowed.example", POOL_V6)))
def test_a_name_of_one_family_goes_out_by_it(daemon, client, name, addresses):
    """An IPv4 client reaches a name that has only IPv6 addresses, and the other way round."""
    reply = client.curl("-x", PROXY, f"https://{name}/")
    assert reply.peer in addresses, reply
    daemon.expect_one_record(fqdn=name, action="allow")


def test_a_pool_of_one_family_asks_for_no_other(start_daemon, client):
    """With an IPv4 pool a name that has only IPv6 addresses is not found."""
    daemon = start_daemon(lambda config: config["snat_pools"][0].update(addresses=[POOL_V4[0]]))
    assert client.curl("-x", PROXY, "http://only6.allowed.example/").status == 502
    daemon.expect_one_record(fqdn="only6.allowed.example", reason="name-not-found")


def test_an_upload_waits_for_100_continue(daemon, client, lab):
    """curl sends Expect: 100-continue before a large body; question, go-ahead, body and answer all pass."""
    def handler(connection, origin):
        head = read_until(connection, b"\r\n\r\n")
        assert b"expect: 100-continue" in head.lower() and head.endswith(b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = b""
        while len(data) < len(body):
            data += connection.recv(65536)
        origin.note(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    body = bytes(range(256)) * 20000
    path = lab.directory / "upload"
    path.write_bytes(body)
    with Origin(lab, handler, port=80) as origin:
        reply = client.curl("-x", PROXY, "-H", "Expect: 100-continue", "-T", path, "http://odd.allowed.example/put")
        assert (reply.status, reply.body) == (200, "ok"), reply
        assert origin.received == [body]
    assert daemon.expect_one_record(fqdn="odd.allowed.example")["bytes_out"] > len(body)


def test_connect_to_an_ipv6_address(start_daemon, client, lab):
    """CONNECT [address]:port with a network rule for it."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"tcp [{ODD_V6}]:2222"))
    with Origin(lab, take_all, address=ODD_V6, port=2222) as origin, client.proxy() as connection:
        connection.sendall(connect_request(f"[{ODD_V6}]:2222"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"words")
        connection.shutdown(socket.SHUT_WR)
        origin.wait(lambda it: it.received)
        assert origin.received == [b"words"]
        assert origin.peers[0][0] in POOL_V6
    daemon.expect_one_record(destination_ip=ODD_V6, action="allow")


def test_tls_to_the_origin_inside_a_tunnel_is_end_to_end(daemon, client):
    """The certificate that Python's TLS sees through the tunnel is the origin's."""
    connection = client.proxy()
    connection.sendall(connect_request("login.microsoftonline.com:443"))
    read_until(connection, b"\r\n\r\n")
    with client.tls_context().wrap_socket(connection, server_hostname="login.microsoftonline.com") as tunnel:
        assert ("DNS", "login.microsoftonline.com") in tunnel.getpeercert()["subjectAltName"]
        tunnel.sendall(b"GET /t HTTP/1.1\r\nHost: login.microsoftonline.com\r\nConnection: close\r\n\r\n")
        received = b""
        try:
            while chunk := tunnel.recv(65536):
                received += chunk
        except ssl.SSLEOFError:
            pass
        assert b"uri=/t" in received
    assert daemon.expect_one_record(fqdn="login.microsoftonline.com")["bytes_in"] > 0


def test_a_refused_address_is_in_the_record(daemon, client):
    """CONNECT to the metadata service by address: the record says where to, and that no rule would open it."""
    with client.proxy() as connection:
        connection.sendall(connect_request("169.254.169.254:80"))
        assert http_response(connection)[0] == 403
    record = daemon.expect_one_record(destination_ip="169.254.169.254", destination_port=80)
    assert record["action"] == "deny"
    assert "no setting opens" in record["hint"]


def test_of_several_addresses_the_permitted_one_is_used_without_a_hint(daemon, client):
    """Where one of a name's addresses is private and another serves, nothing was refused that a hint could explain."""
    with client.proxy() as connection:
        connection.sendall(connect_request("partly-private.allowed.example:443"))
        assert http_response(connection)[0] == 502
    record = daemon.expect_one_record(fqdn="partly-private.allowed.example", reason="connect-refused")
    assert record["destination_ip"] == "203.0.113.210"
    assert "hint" not in record
