"""Azure's wire server and metadata service: no way leads there from a spoke, whatever the rules say."""

import contextlib
import socket

import pytest

from capture import Capture
from clients import hello, http_response, read_all
from lab import wait_for

PLATFORM = ("168.63.129.16", "169.254.169.254")
EMBEDDED = ("64:ff9b::a83f:8110", "2002:a83f:8110::1", "::ffff:168.63.129.16", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a83f:8110",
            "2001:0:a83f:8110::1")
ODD_NOTATIONS = ("2822734096", "0xa83f8110", "0250.077.0201.020", "168.63.33040")
PORTS = (80, 443, 53, 8080, 32526, 22)
ANYTHING = " or ".join([*(f"host {address}" for address in PLATFORM), "net 64:ff9b::/48", "net 2002::/16", "net 2001:0::/32",
                        "net 64:ff9b:1::/48", "net ::/96", "net ::ffff:0:0/96"])


@pytest.fixture(name="platform", params=("enforce", "audit"))
def fixture_platform(request, start_daemon, lab):
    """A daemon whose rules open everything, also in audit mode, and a route to platform addresses; none of their packets may leave."""
    lab.internet.batch("\n".join(f"route add local {address} dev lo" for address in PLATFORM))

    def change(config):
        cluster = config["clusters"][0]
        cluster["mode"] = request.param
        cluster["allow"] += [f"{protocol} [{prefix}]:1-65535" for protocol in ("tcp", "udp")
                             for prefix in ("0.0.0.0/0", "::/0", *PLATFORM, "64:ff9b::/96", "2002::/16")]
        cluster["allow"] += ["https platform.allowed.example:443", "http platform.allowed.example:80",
                             "udp platform.allowed.example:1-65535", "tcp platform.allowed.example:1-65535"]
        cluster["private_destinations"] = ["10.0.0.0/8", "192.168.0.0/16", "64:ff9b::/96", "2002::/16"]

    with Capture(lab, lab.nva, "internet0", f"({ANYTHING}) and not icmp6") as inside, \
            Capture(lab, lab.internet, "eth0", f"({ANYTHING}) and not icmp6") as outside:
        yield start_daemon(change)
        assert (inside.packets(), outside.packets()) == ([], [])
    lab.internet.batch("\n".join(f"route delete local {address} dev lo" for address in PLATFORM))


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def request(client, *lines):
    """The status that the explicit proxy answers, 0 for none."""
    with client.proxy() as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        try:
            return http_response(connection)[0]
        except EOFError:
            return 0


def test_the_proxy_leads_to_no_platform_address(platform, client):
    """CONNECT and absolute-form requests are refused, for addresses in any notation and for a name that resolves to one."""
    names = ("platform.allowed.example", *PLATFORM, *map(bracketed, EMBEDDED), *ODD_NOTATIONS)
    for name in names:
        for port in (80, 443, 32526):
            assert request(client, f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}") in (400, 403), (name, port)
        assert request(client, f"GET http://{name}/metadata HTTP/1.1", f"Host: {name}", "Metadata: true") in (400, 403), name
    for address in PLATFORM:
        platform.wait_record(destination_ip=address, reason="platform-address")
    assert {record["action"] for record in platform.records()} == {"deny"}


def test_steered_connections_lead_to_no_platform_address(platform, client, lab):
    """Over another address, SNI or Host of a name that resolves to a platform address is refused; so is its embedded address."""
    name = "platform.allowed.example"
    cluster = platform.config["clusters"][0]
    cluster["allow"] = [rule for rule in cluster["allow"] if "/0]" not in rule]  # those dial any address at once, whatever the name
    platform.reload()
    for address in (lab.zone.v4("mcr.microsoft.com"), *EMBEDDED[:2]):
        for port, first in ((443, hello(name)), (80, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())):
            with contextlib.suppress(ConnectionResetError), lab.spoke.connect(address, port) as connection:
                connection.sendall(first)
                read_all(connection)
    platform.wait_record(fqdn=name, reason="platform-address")


def send_everything(lab, address):
    """A UDP packet and a SYN to each port; returns the sockets, which are to stay open until something came of them."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        for port in PORTS:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                one = stack.enter_context(lab.spoke.socket(family, kind))
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect((address, port))
                if kind == socket.SOCK_DGRAM:
                    one.send(b"GET")
        return stack.pop_all()


def dropped_at_once(lab):
    """Packets to platform addresses that the chain prerouting has dropped."""
    listing = lab.nva.run("nft", "list", "chain", "inet", "aksegressd", "prerouting", check=True).stdout
    line = next(line for line in listing.splitlines() if "168.63.129.16" in line)
    return int(line.partition("counter packets ")[2].split()[0])


def test_nothing_is_forwarded_to_a_platform_address(platform, lab):
    """UDP, TCP and ICMP to them are dropped without an answer, on steered ports as on all others."""
    for address in PLATFORM:
        before = dropped_at_once(lab)
        with send_everything(lab, address):
            wait_for(lambda before=before: dropped_at_once(lab) >= before + 2 * len(PORTS), "packets at prerouting")
        assert lab.spoke.run("ping", "-n", "-c", "1", "-W", "0.2", address).returncode == 1
        assert dropped_at_once(lab) > before + 2 * len(PORTS)
    record = platform.wait_record(event="packet", destination_ip=PLATFORM[0], protocol="udp")
    assert (record["action"], record["reason"], record["client_ip"]) == ("deny", "platform-address", "198.18.1.10")


def test_nothing_is_forwarded_to_an_address_that_embeds_one(platform, lab):
    """NAT64, 6to4 and Teredo forms are refused though a rule and private_destinations name their prefix."""
    for address in EMBEDDED:
        if address.startswith("::"):
            continue  # no such packet leaves a Linux client
        with pytest.raises(OSError) as raised, lab.spoke.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((address, 32526))
            client.send(b"GET")
            client.recv(100)
        assert not isinstance(raised.value, TimeoutError), address
        with pytest.raises(ConnectionRefusedError):
            lab.spoke.connect(address, 32526)
    record = platform.wait_record(event="packet", destination_ip=EMBEDDED[0], protocol="udp")
    assert (record["action"], record["reason"]) == ("deny", "forbidden-address")
