"""A refused name causes no packet: not at the DNS server, not at an origin."""

import pytest

from clients import hello, http_response, read_all

NAMES = ("example.com", "never-heard-of.example", "mcr.microsoft.com.evil.example", "evilmcr.microsoft.com", "forbidden.allowed.example")


def by_sni(client, name):
    with client.connect("example.com") as connection:
        connection.sendall(hello(name))
        read_all(connection)


def by_host(client, name):
    with client.connect("example.com", 80) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert http_response(connection)[0] == 403


def by_connect(client, name):
    with client.proxy() as connection:
        connection.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
        assert http_response(connection)[0] == 403


def by_absolute_form(client, name):
    with client.proxy() as connection:
        connection.sendall(f"GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert http_response(connection)[0] == 403


@pytest.mark.parametrize("way", (by_sni, by_host, by_connect, by_absolute_form))
def test_refused_names_cause_no_packets(daemon, client, lab, way):
    """Whatever the way in, the DNS server and the origins see nothing of a refused name; an allowed one is seen."""
    queries, connections = lab.counted("queries"), lab.counted("connections")
    for name in NAMES:
        way(client, name)
        daemon.expect_one_record(fqdn=name, action="deny")
    assert (lab.counted("queries"), lab.counted("connections")) == (queries, connections)
    assert client.curl("https://third.allowed.example/").status == 200
    assert lab.counted("queries") > queries
    assert lab.counted("connections") > connections


def test_answers_are_cached(start_daemon, client, lab):
    """The second connection to a name asks nothing (of one worker: each has a cache of its own)."""
    start_daemon(lambda config: config.update(workers=1))
    assert client.curl("https://third.allowed.example/").status == 200
    queries = lab.counted("queries")
    for _ in range(6):
        assert client.curl("https://third.allowed.example/").status == 200
    assert lab.counted("queries") == queries
