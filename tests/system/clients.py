"""Clients in a namespace: real ones (curl, openssl, …) as programs, handmade ones as sockets of the test itself."""

import pathlib
import re
import select
import socket
import ssl
import struct
import time

PEER = re.compile(r"origin=(\S+) peer=(\S+) port=(\d+) sni=(\S*) uri=(\S*)")
ALERTS = {40: "handshake_failure", 47: "illegal_parameter", 49: "access_denied", 50: "decode_error", 80: "internal_error",
          112: "unrecognized_name"}


class Answer:
    """What curl got."""

    def __init__(self, completed):
        self.exit_status = completed.returncode
        self.error = completed.stderr
        self.body, _, tail = completed.stdout.rpartition("\n@@")
        fields = tail.split()
        self.status = int(fields[0]) if fields else 0
        self.http_version = fields[1] if len(fields) > 1 else ""
        self.connect_status = int(fields[2]) if len(fields) > 2 else 0
        match = PEER.search(self.body)
        self.origin, self.peer, self.port, self.sni, self.uri = match.groups() if match else (None,) * 5

    def __repr__(self):
        return f"exit {self.exit_status}, HTTP {self.http_version} {self.status} ({self.connect_status}): {self.body!r} {self.error!r}"


class Client:
    """Clients of one namespace."""

    def __init__(self, lab, namespace):
        self.lab = lab
        self.namespace = namespace

    def curl(self, *arguments, timeout=30):
        completed = self.namespace.run("curl", "-sS", "--max-time", timeout - 5, "-w", "\n@@%{http_code} %{http_version} %{http_connect}",
                                       *arguments, timeout=timeout)
        return Answer(completed)

    def connect(self, name, port=443, family=4, source=None, timeout=10):
        """A TCP connection to the address that the hosts file gives for the name."""
        address = self.lab.zone.v6(name) if family == 6 else self.lab.zone.v4(name)
        return self.namespace.connect(address, port, source=source, timeout=timeout)

    def proxy(self, timeout=10):
        """A TCP connection to the explicit proxy."""
        return self.namespace.connect("198.18.1.1", 3128, timeout=timeout)

    def tls_context(self, alpn=None):
        context = ssl.create_default_context(cafile=str(self.lab.directory / "ca.pem"))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def tls(self, name, **options):
        """A TLS connection by name through the transparent path."""
        raw = self.connect(name, **options)
        try:
            return self.tls_context().wrap_socket(raw, server_hostname=name)
        except BaseException:
            raw.close()
            raise


HELLO_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; its handshakes end with the hello


def hello(name):
    """The bytes of a ClientHello made by OpenSSL for this name, in one record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = HELLO_CONTEXT.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def extension(number, body):
    return struct.pack("!HH", number, len(body)) + body


def server_name(*names):
    """The server_name extension (RFC 6066 3) with these names as they are."""
    entries = b"".join(b"\x00" + struct.pack("!H", len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def raw_hello(*extensions, records=16384):
    """A ClientHello with exactly these extensions, cut into records of at most so many bytes."""
    joined = b"".join(extensions)
    body = b"\x03\x03" + bytes(range(32)) + b"\x00" + b"\x00\x04\x13\x01\x13\x02" + b"\x01\x00" + struct.pack("!H", len(joined)) + joined
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(message[at:at + records])) + message[at:at + records]
                    for at in range(0, len(message), records))


HELLO_RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 4.1.3


def hello_retry():
    """The record of a HelloRetryRequest that asks for P-384."""
    body = b"\x03\x03" + HELLO_RETRY_RANDOM + b"\x00\x13\x01\x00\x00\x0c" + extension(43, b"\x03\x04") + extension(51, b"\x00\x18")
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def read_all(connection, timeout=10):
    """Everything until the other side ends or resets; the second value says whether it was a reset."""
    connection.settimeout(timeout)
    received = b""
    while True:
        try:
            chunk = connection.recv(65536)
        except ConnectionResetError:
            return received, True
        if not chunk:
            return received, False
        received += chunk


def ends_unanswered(connect):
    """Whether the connection that connect() makes ends without a byte; a reset may come even before connect() returns."""
    try:
        with connect() as connection:
            return read_all(connection)[0] == b""
    except ConnectionResetError:
        return True


def read_until(connection, end, timeout=10):
    """Bytes up to and with end."""
    connection.settimeout(timeout)
    received = b""
    while end not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f"ended after {received!r}")
        received += chunk
    return received


def alert(received):
    """The name of the fatal alert that these bytes are, or None."""
    if len(received) == 7 and received[0] == 0x15 and received[5] == 2:
        return ALERTS.get(received[6], str(received[6]))
    return None


def refused_alert(connection, first):
    """Sends first and returns the name of the alert that answers."""
    with connection:
        connection.sendall(first)
        received, _ = read_all(connection)
        return alert(received)


def http_response(connection, timeout=10):
    """One response with a Content-Length: (status, head text, body)."""
    connection.settimeout(timeout)
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f"ended after {received!r}")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    wanted = int(length[1]) if length else 0
    while len(body) < wanted:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f"body ended after {len(body)} of {wanted} bytes")
        body += chunk
    return int(head.split()[1]), head.decode("latin-1"), body
