"""A reload that permits less holds for connections that were made before it."""

import pytest

from clients import hello, http_response, read_all, read_until
from lab import wait_for
from odd_origins import ODD, Origin, answer, speak_first

NAME = "private.allowed.example"
PRIVATE = "10.20.30.40"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = f"GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()


@pytest.fixture
def permitting(lab, start_daemon):
    """A daemon whose cluster lists the private address, which the internet of the lab answers for."""
    lab.internet.batch(f"route replace local {PRIVATE}/32 dev lo")
    return start_daemon(lambda config: config["clusters"][0].update(private_destinations=[f"{PRIVATE}/32"]))


def stop_permitting(daemon):
    daemon.config["clusters"][0]["private_destinations"] = []
    daemon.reload()


def test_a_kept_alive_connection_no_longer_reaches_an_address_that_is_not_permitted(permitting, client, lab):
    """The second request on a connection is not sent over the origin's connection that the first one made."""
    with Origin(lab, answer(OK, OK), address=PRIVATE, port=80) as origin, client.proxy() as connection:
        connection.sendall(REQUEST)
        assert http_response(connection)[0] == 200
        stop_permitting(permitting)
        connection.sendall(REQUEST)
        assert http_response(connection)[0] == 403
        assert len(origin.received) == 1
    assert permitting.expect_one_record(reason="forbidden-address")["fqdn"] == NAME


def test_a_connect_under_way_is_judged_again_when_it_is_done(permitting, client, lab):
    """An origin that accepts after the reload, at an address that is no longer permitted, is not talked to."""
    with Origin(lab, answer(OK), address=PRIVATE, port=80) as origin, client.proxy() as connection:
        with lab.silenced(PRIVATE):
            before = lab.counted("connections")
            connection.sendall(REQUEST)
            wait_for(lambda: lab.counted("connections") > before, "SYN")
            stop_permitting(permitting)
        permitting.expect_one_record(fqdn=NAME, reason="policy-changed")
        assert not origin.received


def test_a_kept_alive_connection_follows_its_cluster_to_another_pool(start_daemon, client, lab):
    """After a reload the next request goes out from the cluster's new pool."""
    def two_pools(config):
        config["snat_pools"] = [{"name": "main", "addresses": ["198.18.2.10"]}, {"name": "other", "addresses": ["198.18.2.11"]}]
    daemon = start_daemon(two_pools)
    name = "odd.allowed.example"
    request = f"GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    with Origin(lab, answer(OK, OK), port=80) as origin, client.proxy() as connection:
        connection.sendall(request)
        read_until(connection, b"ok")
        daemon.config["clusters"][0]["snat_pool"] = "other"
        daemon.reload()
        connection.sendall(request)
        read_until(connection, b"ok")
        assert [address for address, _ in origin.peers] == ["198.18.2.10", "198.18.2.11"]


@pytest.mark.parametrize("way", ("transparent", "proxy"))
def test_a_name_does_not_keep_what_was_dialled_by_address(start_daemon, client, lab, way):
    """Without its network rule a connection to an address ends, though its hello names a server that is allowed by name."""
    daemon = start_daemon(lambda config: config["clusters"][0]["allow"].append(f"tcp [{ODD}]:443"))
    with Origin(lab, speak_first(b"first words")), client.proxy() if way == "proxy" else lab.spoke.connect(ODD, 443) as connection:
        if way == "proxy":
            connection.sendall(f"CONNECT {ODD}:443 HTTP/1.1\r\nHost: {ODD}:443\r\n\r\n".encode())
        read_until(connection, b"first words")
        connection.sendall(hello("first.allowed.example"))
        wait_for(lambda: connection.recv(4096), "echo")
        daemon.config["clusters"][0]["allow"].pop()
        daemon.reload()
        read_all(connection)
        daemon.expect_one_record(destination_ip=ODD, reason="policy-changed")
