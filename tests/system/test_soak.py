"""What takes long (`make check-long`, SOAK=1): hours of work in minutes, and being killed again and again."""

import contextlib
import os
import signal
import threading
import time

from clients import hello, http_response, read_all
from odd_origins import Origin, end_with_the_client, reset
from test_trouble import resident_kib

SECONDS = int(os.environ.get("SOAK_SECONDS", "300"))
KILLS = int(os.environ.get("SOAK_KILLS", "100"))
ODD_NAME = "odd.allowed.example"


def crowd(client, over, done):
    """Connections of every kind, one after the other, until over is set."""
    def refused():
        with client.connect("example.com") as connection:
            connection.sendall(hello("example.com"))
            read_all(connection)

    def served():
        with client.connect("first.allowed.example", 80) as connection:
            for _ in range(10):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
                assert http_response(connection)[0] == 200

    def tunnelled():
        with client.tls("second.allowed.example") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: second.allowed.example\r\nConnection: close\r\n\r\n")
            connection.recv(65536)

    def left():
        connection = client.connect(ODD_NAME)
        connection.sendall(hello(ODD_NAME))
        reset(connection)

    def half():
        with client.proxy() as connection:
            connection.sendall(b"CONNECT first.allowed.example:443 HTTP/1.1\r\nHost: first.allowed.example:443\r\n\r\n")
            connection.recv(100)

    while not over.is_set():
        for way in (refused, served, tunnelled, left, half):
            way()
            done.append(1)


def test_memory_and_descriptors_stay(start_daemon, client, lab):
    """Under a mixed load with reloads for SOAK_SECONDS memory stops growing and no descriptor stays."""
    daemon = start_daemon(lambda config: config["logging"][0].update(events=["deny"]))
    over, done = threading.Event(), []
    with Origin(lab, end_with_the_client):
        threads = [threading.Thread(target=crowd, args=(client, over, done), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        warm = None
        while time.monotonic() - began < SECONDS and all(thread.is_alive() for thread in threads):
            daemon.config["timeouts"]["idle"] = f"{20 + len(done) % 10}m"
            daemon.reload()
            over.wait(1)
            if warm is None and time.monotonic() - began > SECONDS / 5:
                warm = resident_kib(daemon)
        alive = [thread.is_alive() for thread in threads]
        over.set()
        for thread in threads:
            thread.join(30)
    print(f"{len(done)} connections, {warm} KiB after a fifth of the time, {resident_kib(daemon)} KiB at the end")
    assert all(alive), "a client failed, see above"
    daemon.check_descriptors()
    assert resident_kib(daemon) < warm * 1.2 + 2000


def test_killed_again_and_again_nothing_leaks(start_daemon, client, lab):
    """SOAK_KILLS times killed under load: no packet of a client reaches the internet by itself."""
    over, done = threading.Event(), []

    def knock():
        while not over.is_set():
            with contextlib.suppress(OSError, EOFError):
                with client.connect("first.allowed.example", 80, timeout=2) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
                    http_response(connection, timeout=2)
                    done.append(1)

    threads = [threading.Thread(target=knock, daemon=True) for _ in range(3)]
    try:
        for number in range(KILLS):
            daemon = start_daemon()
            if number == 0:
                for thread in threads:
                    thread.start()
            served = len(done)
            while len(done) < served + 20:
                over.wait(0.01)
            daemon.send(signal.SIGKILL)
            daemon.process.popen.wait()
            daemon.finished = True
            daemon.stop()
            assert lab.counted("leaked") == 0
    finally:
        over.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(10)
    print(f"{KILLS} kills, {len(done)} requests between them")
