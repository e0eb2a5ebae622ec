"""ClientHellos as real clients send them: in pieces, in many records, large, twice, with early data."""

import array
import contextlib
import fcntl
import socket
import subprocess
import termios

import pytest

from clients import alert, extension, hello, hello_retry, raw_hello, read_all, server_name
from lab import wait_for
from odd_origins import ODD, Origin, note_chunks, note_chunks_and_end

ODD_NAME = "odd.allowed.example"
ECH = 0xFE0D
CHANGE_CIPHER_SPEC = b"\x14\x03\x03\x00\x01\x01"


def unsent(connection):
    """Bytes that the other side's kernel has not acknowledged yet."""
    count = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, count)
    return count[0]


def send_in_pieces(connection, data, size):
    """Each piece in a segment of its own, the next only when the other side has it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(data), size):
        connection.sendall(data[at:at + size])
        wait_for(lambda: unsent(connection) == 0, "acknowledgement")


def passes_unchanged(lab, client, sent, size=65536):
    """Sends the bytes in pieces and compares what the origin gets."""
    with Origin(lab, note_chunks_and_end) as origin, client.connect(ODD_NAME) as connection:
        send_in_pieces(connection, sent, size)
        origin.wait(lambda it: len(b"".join(it.received)) >= len(sent))
        connection.shutdown(socket.SHUT_WR)  # not before: who ends while we connect is taken for gone
        assert read_all(connection)[0] == b""
        assert b"".join(origin.received) == sent


@pytest.mark.parametrize("size", (1, 7, 100))
def test_a_hello_in_pieces(daemon, client, lab, size):
    """However TCP cuts it, the hello arrives unchanged, in one connection with one record."""
    passes_unchanged(lab, client, hello(ODD_NAME), size)
    assert daemon.expect_one_record(fqdn=ODD_NAME)["reason"] == "completed"


@pytest.mark.parametrize("records", (1, 5, 64, 300))
def test_a_hello_in_many_records(daemon, client, lab, records):
    """However TLS cuts it, the name is found and the records pass as they were."""
    passes_unchanged(lab, client, raw_hello(extension(10, b"\x00\x02\x00\x1d"), server_name(ODD_NAME.encode()), records=records))
    assert daemon.expect_one_record(fqdn=ODD_NAME)["action"] == "allow"


def test_a_refused_name_in_many_records(daemon, client):
    """A name split over one-byte records is refused like any other."""
    with client.connect(ODD_NAME) as connection:
        connection.sendall(raw_hello(server_name(b"example.com"), records=1))
        assert alert(read_all(connection)[0]) == "unrecognized_name"
    daemon.expect_one_record(fqdn="example.com", reason="no-rule")


def test_a_hello_of_sixty_thousand_bytes(daemon, client, lab):
    """A large hello, as post-quantum key shares and padding make them, with the name at its end."""
    passes_unchanged(lab, client, raw_hello(extension(21, b"\x00" * 60000), server_name(ODD_NAME.encode())))
    daemon.expect_one_record(fqdn=ODD_NAME, action="allow")


def test_encrypted_client_hello_passes_and_is_recorded(daemon, client, lab):
    """An ECH extension (browsers send one to everybody) is no reason to refuse; the record has ech true."""
    passes_unchanged(lab, client, raw_hello(server_name(ODD_NAME.encode()), extension(ECH, b"\x00" * 100)))
    assert daemon.expect_one_record(fqdn=ODD_NAME)["ech"] is True


def test_upper_case_and_trailing_dot_are_the_same_name(daemon, client, lab):
    """Names are compared and recorded in lower case without a final dot."""
    passes_unchanged(lab, client, raw_hello(server_name(b"Odd.Allowed.EXAMPLE")))
    daemon.expect_one_record(fqdn=ODD_NAME, action="allow")


@pytest.fixture
def openssl_server(lab):
    """Starts openssl s_server in the internet with options of the test's choice."""
    running = []

    def start(*options):
        argv = ("openssl", "s_server", "-accept", f"{ODD}:443", "-cert", lab.directory / "server.pem", "-key",
                lab.directory / "server.key", *options)
        # With an end of input it would end its connections.
        process = lab.internet.start("s_server", *argv, stdin=subprocess.PIPE, ready=lambda: lab.internet.listens(ODD, 443))
        running.append(process)
        return process

    yield start
    for process in running:
        process.stop()
        lab.processes.remove(process)
        lab.directory.joinpath("s_server.log").unlink()


def s_client(lab, *options, **more):
    return lab.spoke.run("openssl", "s_client", "-connect", f"{ODD}:443", "-servername", ODD_NAME, "-CAfile", lab.directory / "ca.pem",
                         "-verify_return_error", *options, **more)


def test_a_hello_retry_request_passes(daemon, lab, openssl_server):
    """The server wants another group: the second hello names the same server, and the handshake completes."""
    openssl_server("-groups", "P-384", "-www")
    done = s_client(lab, "-groups", "X25519:P-384", "-msg", input="")
    assert done.stdout.count("ClientHello") == 2, done.stdout + done.stderr
    assert "Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    daemon.wait_record(fqdn=ODD_NAME, reason="completed")


@pytest.mark.parametrize("size", (1, 20, 200), ids=("bytewise", "in pieces", "whole"))
@pytest.mark.parametrize("second", (ODD_NAME, "first.allowed.example"), ids=("same name", "another name"))
def test_a_retry_request_in_pieces_is_still_seen(daemon, client, lab, size, second):
    """However the server's request for a second hello is cut, and with a change_cipher_spec before that hello."""
    def handler(connection, origin):
        origin.note(connection.recv(65536))
        send_in_pieces(connection, hello_retry(), size)
        while chunk := connection.recv(65536):
            origin.note(chunk)

    first, then = raw_hello(server_name(ODD_NAME.encode())), raw_hello(server_name(second.encode()))
    with Origin(lab, handler) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(first)
        received = b""
        while received != hello_retry():
            received += connection.recv(65536)
        send_in_pieces(connection, CHANGE_CIPHER_SPEC + then, size)
        if second == ODD_NAME:
            origin.wait(lambda it: b"".join(it.received) == first + CHANGE_CIPHER_SPEC + then)
        else:
            read_all(connection)
    assert b"".join(origin.received).count(b"example") == (2 if second == ODD_NAME else 1)
    daemon.expect_one_record(fqdn=ODD_NAME, reason="completed" if second == ODD_NAME else "server-name-changed")


def test_early_data_passes(daemon, lab, openssl_server):
    """Bytes behind the hello, before the server has said a word (TLS 1.3 early data), reach the server."""
    openssl_server("-early_data", "-max_early_data", "16384", "-no_anti_replay")
    session, early, output = lab.directory / "session", lab.directory / "early", lab.directory / "early-output"
    early.write_text("early words of the client\n")
    with s_client_until(lab, lambda: session.exists() and "-----END" in session.read_text(), output, "-sess_out", session):
        pass  # a file that is there may still be empty
    with s_client_until(lab, lambda: "Early data was " in output.read_text(), output, "-sess_in", session, "-early_data", early):
        assert "Early data was accepted" in output.read_text()
    daemon.wait_record(fqdn=ODD_NAME)


@contextlib.contextmanager
def s_client_until(lab, condition, output, *options):
    """A TLS 1.3 client that stays connected until the condition is true."""
    argv = lab.spoke.command("openssl", "s_client", "-connect", f"{ODD}:443", "-servername", ODD_NAME, "-tls1_3", *options)
    with open(output, "wb") as stream, subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=stream, stderr=stream) as process:
        try:
            wait_for(condition, "what s_client is to do")
            yield
        finally:
            process.kill()


def test_nothing_reaches_the_origin_before_the_name_is_known(daemon, client, lab):
    """With half a hello there no connection to the origin is made."""
    sent = hello(ODD_NAME)
    with Origin(lab, note_chunks) as origin, client.connect(ODD_NAME) as connection:
        before = lab.counted("connections")
        send_in_pieces(connection, sent[:-1], 40)
        assert lab.counted("connections") == before
        connection.sendall(sent[-1:])
        origin.wait(lambda it: it.received)
        assert origin.received[0] == sent
    daemon.wait_record(fqdn=ODD_NAME)
