"""Servers that a test makes itself: they do what real ones do rarely."""

import contextlib
import socket
import struct
import threading

ODD = "203.0.113.200"
ODD_V6 = "2001:db8:f::200"
OTHER_ODD = "203.0.113.201"


def reset(connection):
    """Ends a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Origin:
    """Listens in the internet and gives each connection to handler(connection, origin) in a thread."""

    def __init__(self, lab, handler, address=ODD, port=443, backlog=128):
        self.handler = handler
        self.listener = lab.internet.listen(address, port, backlog)
        self.peers = []
        self.received = []
        self.errors = []
        self.changed = threading.Condition()
        self.connections = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            connection.settimeout(30)
            with self.changed:
                self.peers.append(peer[:2])
                self.connections.append(connection)
                self.changed.notify_all()
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection):
        try:
            self.handler(connection, self)
        except OSError as error:
            self.errors.append(error)

    def note(self, data):
        """A handler tells what it received."""
        with self.changed:
            self.received.append(data)
            self.changed.notify_all()

    def wait(self, condition, timeout=10):
        """Waits until condition(self) is true."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout), f"peers {self.peers}, received {self.received}"


def keep_open(_connection, _origin):
    """Says nothing and does not end."""


def end_with_the_client(connection, _origin):
    """Says nothing for as long as the client is there."""
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass


def close_at_once(connection, _origin):
    connection.close()


def reset_at_once(connection, _origin):
    reset(connection)


def take_all(connection, origin):
    """Reads until the client's end, notes everything, then ends."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    origin.note(data)
    connection.close()


def note_chunks(connection, origin):
    """Notes each piece as it comes, never answers."""
    while chunk := connection.recv(65536):
        origin.note(chunk)


def note_chunks_and_end(connection, origin):
    """The same, and ends with the client."""
    note_chunks(connection, origin)
    connection.close()


def answer(*responses):
    """Sends the next of responses after each piece that looks like a request head, then keeps the connection open."""
    def handler(connection, origin):
        pending = b""
        for response in responses:
            while b"\r\n\r\n" not in pending:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                pending += chunk
            head, _, pending = pending.partition(b"\r\n\r\n")
            origin.note(head)
            connection.sendall(response)
    return handler


def speak_first(banner):
    """Sends a banner before the client says anything, then echoes."""
    def handler(connection, _origin):
        connection.sendall(banner)
        while chunk := connection.recv(65536):
            connection.sendall(chunk)
        connection.close()
    return handler
