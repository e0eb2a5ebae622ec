"""The API server for clients that dial its address: with no server name, or with a foreign one."""

import pytest

from clients import hello, read_until, refused_alert
from lab import POOL_V4, POOL_V6, wait_for
from network_origins import CHANGING_DNS, ChangingDns
from odd_origins import Origin, speak_first

NAME = "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io"
OTHER_NAME = "prod-dns-9f8e7d.hcp.westeurope.azmk8s.io"
FAMILIES = pytest.mark.parametrize("family", (4, 6))
POOL = {4: POOL_V4, 6: POOL_V6}
PRIVATE = "10.20.30.40"


def address_of(lab, name, family):
    return lab.zone.v6(name) if family == 6 else lab.zone.v4(name)


def by_address(client, lab, foreign, name, family):
    """curl dials the address of one name as if it were another's."""
    address = address_of(lab, name, family)
    return client.curl("--resolve", f"{foreign}:443:{f'[{address}]' if family == 6 else address}", f"https://{foreign}/")


@FAMILIES
def test_a_foreign_name_reaches_the_address_that_was_dialled(daemon, client, lab, family):
    """curl --resolve with example.com, which no rule allows, is connected to the API server, and to no other server so."""
    answer = wait_for(lambda: (got := by_address(client, lab, "example.com", NAME, family)).status == 200 and got, "answer")
    assert (answer.sni, answer.peer in POOL[family]) == ("example.com", True)
    record = daemon.wait_record(fqdn="example.com", action="allow")
    address = address_of(lab, NAME, family)
    assert (record["protocol"], record["listener"], record["original_ip"], record["destination_ip"]) == ("https", "transparent", address, address)
    assert (record["feature"], record["cluster"]) == ("api_server", "prod-weu")
    assert by_address(client, lab, "example.com", OTHER_NAME, family).status == 0
    assert daemon.wait_record(fqdn="example.com", original_ip=address_of(lab, OTHER_NAME, family))["reason"] == "no-rule"


@FAMILIES
def test_no_name_reaches_the_address_that_was_dialled(daemon, lab, family):
    """openssl s_client without a server name completes its handshake with the API server, as pods do that dial the service IP."""
    address = address_of(lab, NAME, family)

    def handshake():
        done = lab.spoke.run("openssl", "s_client", "-connect", f"[{address}]:443", "-noservername", "-CAfile", lab.directory / "ca.pem",
                             "-verify_return_error", input="")
        return "Verify return code: 0 (ok)" in done.stdout

    wait_for(handshake, "handshake")
    record = daemon.wait_record(destination_ip=address, action="allow")
    assert (record["protocol"], record["fqdn"], record["feature"], record["snat_ip"] in POOL[family]) == ("https", NAME, "api_server", True)
    assert refused_alert(lab.spoke.connect(address_of(lab, OTHER_NAME, family), 443), hello("other.example")) == "unrecognized_name"


def test_the_rule_is_one_clusters(start_daemon, lab, client):
    """A cluster with another API server does not reach this one by address."""
    start_daemon(lambda config: config["clusters"].append({
        "name": "dev-weu", "sources": ["198.18.4.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope", "snat_pool": "main",
        "api_server": OTHER_NAME}))
    wait_for(lambda: by_address(client, lab, "example.com", NAME, 4).status == 200, "answer")
    resolve = f"example.com:443:{lab.zone.v4(NAME)}"
    assert lab.dev.run("curl", "-sS", "--resolve", resolve, "https://example.com/").returncode != 0
    other = f"example.com:443:{lab.zone.v4(OTHER_NAME)}"
    wait_for(lambda: lab.dev.run("curl", "-sS", "--resolve", other, "https://example.com/").returncode == 0, "answer for dev-weu")


@pytest.fixture(name="private_api")
def fixture_private_api(lab):
    """An API server at a private address that the NVA has a route to, and a DNS that says so."""
    lab.internet.batch(f"route add local {PRIVATE} dev lo")
    with ChangingDns(lab, {"private-api.example": [PRIVATE]}), Origin(lab, speak_first(b"first words"), PRIVATE) as origin:
        yield origin
    lab.internet.batch(f"route delete local {PRIVATE} dev lo")


def test_a_private_api_server_is_refused_with_a_hint_until_it_is_listed(start_daemon, lab, private_api):
    """By name and by address the refusal says private_destinations; with the prefix there, both ways lead to it."""
    def change(config):
        config["clusters"][0]["api_server"] = "private-api.example"
        config["resolver"] = {"servers": [CHANGING_DNS]}

    daemon = start_daemon(change)
    assert refused_alert(lab.spoke.connect(PRIVATE, 443), hello("private-api.example")) is not None
    record = daemon.expect_one_record(fqdn="private-api.example", action="deny")
    assert record["reason"] == "forbidden-address"
    assert "private_destinations" in record["hint"]
    assert refused_alert(lab.spoke.connect(PRIVATE, 443), hello("foreign.example")) is not None
    by_its_address = daemon.expect_one_record(fqdn="foreign.example", action="deny")
    assert by_its_address["original_ip"] == PRIVATE and "private_destinations" in by_its_address["hint"]
    assert private_api.peers == []

    daemon.config["clusters"][0]["private_destinations"] = ["10.20.0.0/16"]
    daemon.reload()
    with lab.spoke.connect(PRIVATE, 443) as connection:
        connection.sendall(hello("private-api.example"))
        read_until(connection, b"first words")
    wait_for(lambda: reaches_without_a_name(lab), "first words of the private API server")
    assert {address for address, _ in private_api.peers} <= set(POOL_V4)


def reaches_without_a_name(lab):
    """Whether the server at the private address may speak first, which takes its rule by address."""
    with lab.spoke.connect(PRIVATE, 443) as connection:
        connection.sendall(hello("foreign.example"))
        return connection.recv(100).startswith(b"first words")
