"""Clients that leave early, half-close, pipeline, or change what they speak."""

import signal
import socket

import pytest

from clients import hello, read_all, read_until
from lab import wait_for
from odd_origins import ODD, ODD_V6, Origin, answer, note_chunks, reset, speak_first
from origins import DNS_ADDRESS

ODD_NAME = "odd.allowed.example"
PRIVATE_NAME = "private.allowed.example"
PRIVATE = "10.20.30.40"
REQUEST = f"GET / HTTP/1.1\r\nHost: {ODD_NAME}\r\n\r\n".encode()
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n" + b"x" * 8000


def slow_connect(lab):
    """A client to port 80 of the odd origin that takes little before it reads."""
    connection = lab.spoke.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    connection.settimeout(10)
    connection.connect((ODD, 80))
    return connection


def test_a_hello_after_a_request_is_not_taken_for_one(start_daemon, client, lab):
    """On a connection that spoke HTTP a ClientHello for the same name and port gets a connection of its own."""
    def http_then_anything(connection, origin):
        (answer(SMALL) if len(origin.peers) == 1 else note_chunks)(connection, origin)

    daemon = start_daemon(lambda config: config["clusters"][0].update(mode="audit"))
    first = hello(ODD_NAME)
    longer_than_the_hello = REQUEST[:-2] + b"X-Padding: " + b"x" * len(first) + b"\r\n\r\n"
    with Origin(lab, http_then_anything, port=80) as origin, client.connect(ODD_NAME, 80) as connection:
        connection.sendall(longer_than_the_hello)
        read_until(connection, b"ok")
        connection.sendall(first)
        origin.wait(lambda it: first in it.received)
        assert len(origin.peers) == 2
    daemon.expect_one_record(fqdn=ODD_NAME, protocol="http", reason="completed")
    daemon.expect_one_record(fqdn=ODD_NAME, protocol="https")


def test_a_half_closed_client_reads_its_whole_response(daemon, lab):
    """The end of a client's requests does not take back what it has not read yet."""
    with Origin(lab, answer(LARGE), port=80), slow_connect(lab) as connection:
        connection.sendall(REQUEST)
        connection.shutdown(socket.SHUT_WR)
        daemon.expect_one_record(fqdn=ODD_NAME, reason="completed")
        daemon.check_descriptors()
        received, was_reset = read_all(connection)
        assert (len(received), was_reset) == (len(LARGE), False)


def test_a_last_response_arrives_though_more_was_asked_for(start_daemon, lab):
    """While draining, requests sent ahead are not answered, and the response before them is not lost in a reset."""
    daemon = start_daemon(lambda config: config.update(drain="10s"))

    def answer_late(connection, origin):
        origin.note(read_until(connection, b"\r\n\r\n"))
        origin.wait(lambda it: "go" in it.received)
        connection.sendall(LARGE)

    with Origin(lab, answer_late, port=80) as origin, slow_connect(lab) as connection:
        connection.sendall(REQUEST)
        origin.wait(lambda it: it.received)
        daemon.send(signal.SIGTERM)
        wait_for(lambda: daemon.notified("STOPPING=1"), "STOPPING=1")
        connection.sendall(REQUEST)
        wait_for(lambda: not lab.spoke.listens("198.18.1.1", 3128), "end of accepting")
        origin.note("go")
        daemon.expect_one_record(fqdn=ODD_NAME, reason="completed")
        received, was_reset = read_all(connection)
        assert (len(received), was_reset) == (len(LARGE), False)
    daemon.finish(timeout=10)


@pytest.fixture
def patient_daemon(start_daemon):
    """A daemon that waits long for answers."""
    return start_daemon(lambda config: config["timeouts"].update(resolve="8s", connect="8s"))


LEAVING = pytest.mark.parametrize("port, first", ((443, hello(ODD_NAME)), (80, REQUEST)), ids=("TLS", "HTTP"))


def leave_early(daemon, client, port, first, waiting):
    """The connection of a client that left ends with its record, long before what it waits for would time out."""
    connection = client.connect(ODD_NAME, port)
    connection.sendall(first)
    wait_for(waiting, "packet that stays unanswered")
    reset(connection)
    daemon.expect_one_record(timeout=5, fqdn=ODD_NAME, reason="client-aborted", action="allow")


@LEAVING
def test_a_client_that_leaves_while_its_name_is_resolved(patient_daemon, client, lab, port, first):
    """No connection waits for an answer that nobody wants any more."""
    before = lab.counted("queries")
    with lab.silenced(DNS_ADDRESS):
        leave_early(patient_daemon, client, port, first, lambda: lab.counted("queries") > before)


@LEAVING
def test_a_client_that_leaves_while_its_origin_is_connected(patient_daemon, client, lab, port, first):
    """No connect goes on for a client that is gone."""
    before = lab.counted("connections")
    with lab.silenced(ODD, ODD_V6):
        leave_early(patient_daemon, client, port, first, lambda: lab.counted("connections") > before)


def test_a_half_closed_client_is_not_gone(daemon, client, lab):
    """An HTTP client may end its side with its request: it is connected, and gets its answer."""
    with Origin(lab, answer(SMALL), port=80), client.connect(ODD_NAME, 80) as connection:
        connection.sendall(REQUEST)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[0].endswith(b"ok")
    daemon.expect_one_record(fqdn=ODD_NAME, reason="completed")


def test_a_kept_connection_is_judged_by_the_newest_policy(start_daemon, client, lab):
    """A connection to an origin that a reload forbids is not used again for the next request."""
    daemon = start_daemon(lambda config: config["clusters"][0].update(private_destinations=[f"{PRIVATE}/32"]))
    request = f"GET / HTTP/1.1\r\nHost: {PRIVATE_NAME}\r\n\r\n".encode()
    lab.internet.run("ip", "address", "replace", f"{PRIVATE}/32", "dev", "lo", check=True)
    with Origin(lab, answer(SMALL, SMALL), address=PRIVATE, port=80), client.connect(ODD_NAME, 80) as connection:
        connection.sendall(request)
        read_until(connection, b"ok")
        daemon.config["clusters"][0]["private_destinations"] = []
        daemon.reload()
        wait_for(lambda: client.curl("--resolve", f"{PRIVATE_NAME}:80:{ODD}", f"http://{PRIVATE_NAME}/").status == 403, "change")
        connection.sendall(request)
        assert b"forbidden-address" in read_all(connection)[0]


def test_an_address_that_was_not_tried_is_no_destination(patient_daemon, client, lab):
    """Of an origin's addresses the record never names one that the policy had sorted out."""
    name = "partly-private.allowed.example"
    before = lab.counted("connections")
    with lab.silenced("203.0.113.210"):
        connection = client.connect(ODD_NAME)
        connection.sendall(hello(name))
        wait_for(lambda: lab.counted("connections") > before, "SYN that stays unanswered")
        reset(connection)
        record = patient_daemon.expect_one_record(fqdn=name, reason="client-aborted")
    assert record.get("destination_ip") != "10.20.30.41"
    assert "hint" not in record or not record["hint"]


def test_a_reload_while_draining_is_obeyed_and_not_announced(start_daemon, client, lab):
    """Who stops is not ready again because of a SIGHUP; what still runs is judged by the new policy."""
    daemon = start_daemon(lambda config: config.update(drain="20s"))
    with Origin(lab, speak_first(b"x")), client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        assert connection.recv(1) == b"x"
        daemon.send(signal.SIGTERM)
        wait_for(lambda: daemon.notified("STOPPING=1"), "STOPPING=1")
        daemon.config["clusters"][0]["allow"] = []
        daemon.write_config()
        daemon.send(signal.SIGHUP)
        daemon.expect_one_record(fqdn=ODD_NAME, reason="policy-changed")
        daemon.process.popen.wait(10)
        assert not daemon.notified("READY=1")
        daemon.finish()
