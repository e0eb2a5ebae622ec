"""Whether the kernel has an address of a network rule's name before the client that asked for it has the answer."""

import ipaddress
import itertools
import socket
import threading

import pytest

from lab import wait_for
from learned import Element, sets
from network_origins import CHANGING_DNS, AnyUdpEcho, ChangingDns
from test_dns_listener import V4, query

PORT = 5000
RACERS = 6
RELOADS = 3
CROWD = 20000  # elements that are in each set already
PATIENCE_S = 30  # a reload takes a second with such sets, and several on a busy machine under a sanitizer
RECORD_HEAD_BYTES = 12  # of a record whose owner is a pointer (RFC 1035 4.1.4): everything before its data
TYPES = {socket.AF_INET: 1, socket.AF_INET6: 28}
# Every address answers in the lab's internet but 203.0.113.250; the second network is this test's.
NETWORK = ipaddress.ip_network("203.0.113.0/24")
MORE = ipaddress.ip_network("198.51.100.0/24")
V4_ADDRESSES = [str(address) for network in (NETWORK, MORE) for address in network.hosts() if str(address) != "203.0.113.250"]
V6_ADDRESSES = [f"2001:db8:f::5:{number:x}" for number in range(1, len(V4_ADDRESSES) + 1)]
NAMES = {f"pod-{number}.race.example": list(pair) for number, pair in enumerate(zip(V4_ADDRESSES, V6_ADDRESSES))}
STAYING = {"pod.stays.example": NAMES["pod-0.race.example"]}


def rules(config):
    config["listen"]["dns"] = {"address": V4, "port": 53}
    config["clusters"][0]["allow"] += [f"udp *.race.example:{PORT}"]
    config["resolver"] = {"servers": [CHANGING_DNS]}
    config["timeouts"]["resolve"] = f"{PATIENCE_S}s"


def crowd(family):
    """Addresses of names that were learned some time ago."""
    first = ipaddress.ip_address("12.0.0.1" if family == 4 else "2a00:1::1")
    return [str(first + number) for number in range(CROWD)]


def fill_sets(lab):
    """Puts the crowd into both sets in one command, as a daemon that ran before would have left it."""
    text = ""
    for family in (4, 6):
        elements = ", ".join(f'{address} timeout 3600s comment "old-{number}.race.example"'
                             for number, address in enumerate(crowd(family)))
        text += f"add element inet aksegressd learned.udp.{PORT}.prod-weu.v{family} {{ {elements} }}\n"
    lab.nva.nft(text)


class Racer(threading.Thread):
    """Asks for one name after the other, and sends a packet to its address as soon as that is there; ends when one is lost.

    over: to be set where the questions have no end.
    """

    def __init__(self, lab, questions):
        super().__init__(daemon=True)
        self.lab = lab
        self.questions = questions
        self.reached = []
        self.lost = []
        self.over = threading.Event()
        self.dns = lab.spoke.socket(kind=socket.SOCK_DGRAM)
        self.dns.settimeout(PATIENCE_S)
        self.dns.connect((V4, 53))

    def run(self):
        with self.dns:
            for number, (name, family) in enumerate(self.questions):
                if self.over.is_set():
                    return
                with self.lab.spoke.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(5)
                    try:
                        self.reached.append(self.race(client, number, name, family))
                    except (OSError, ValueError) as error:
                        self.lost.append((name, family.name, repr(error)))
                        return

    def race(self, client, number, name, family):
        """Returns the address, which is the last thing in a response without EDNS; a response without one is another length."""
        asked = query(number % 65536, name, TYPES[family])
        self.dns.send(asked)
        response = self.dns.recv(512)
        client.connect((socket.inet_ntop(family, response[len(asked) + RECORD_HEAD_BYTES:]), PORT))
        client.send(name.encode())
        echo = client.recv(100)
        if response[:2] != asked[:2] or echo != name.encode():
            raise ValueError(f"{response!r} and {echo!r} came back")
        return client.getpeername()[0]


@pytest.fixture
def crowded(start_daemon, lab):
    """A daemon that has taken over the crowd, in an internet where every name is and every address answers."""
    lab.internet.batch(f"route replace local {MORE} dev lo")
    try:
        with ChangingDns(lab, {**NAMES, **STAYING}, ttl_s=30), AnyUdpEcho(lab, PORT):
            start_daemon(rules).check_and_stop()
            fill_sets(lab)
            yield start_daemon(rules)
    finally:
        lab.internet.batch(f"route delete local {MORE} dev lo")


def reload_otherwise(daemon, step):
    """Each reload changes the kernel's table: the same names on another port, and so two more sets to fill, or not."""
    more = [f"udp *.race.example:{PORT + 1}"] if step % 2 == 0 else []
    daemon.config["clusters"][0]["allow"] = [f"udp *.race.example:{PORT}", *more]
    daemon.reload(timeout=PATIENCE_S)


def test_an_answer_never_comes_before_its_address_is_known(crowded, lab):
    """1,000 answers with new addresses, to sets of 20,000: packets that follow at once are forwarded, quietly or while reloads happen."""
    questions = [(name, family) for name in NAMES for family in TYPES]
    racers = [Racer(lab, questions[number::RACERS]) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for step in range(RELOADS):
        quiet = len(questions) // (RELOADS + 1) * (step + 1)
        wait_for(lambda: any(racer.lost for racer in racers) or sum(len(racer.reached) for racer in racers) >= quiet,
                 f"{quiet} answers", PATIENCE_S)
        reload_otherwise(crowded, step)
    for racer in racers:
        racer.join(PATIENCE_S)
    assert [racer.lost for racer in racers] == [[]] * RACERS
    assert sorted(address for racer in racers for address in racer.reached) == sorted(V4_ADDRESSES + V6_ADDRESSES)
    assert crowded.log().count("reloaded: ") == RELOADS and "learned addresses" not in crowded.log()
    held = sets(lab)
    for port in (PORT, PORT + 1):
        for family, new in ((4, V4_ADDRESSES), (6, V6_ADDRESSES)):
            elements = held[f"learned.udp.{port}.prod-weu.v{family}"]
            assert {Element(element).address for element in elements} == set(new) | set(crowd(family))


def test_a_known_address_is_reachable_through_a_reload_that_forgets_many(crowded, lab):
    """The rule of 40,000 addresses goes in a reload: one of another name in the same set is let in all the while."""
    crowded.config["clusters"][0]["allow"] += [f"udp *.stays.example:{PORT}"]
    crowded.reload(timeout=PATIENCE_S)
    racer = Racer(lab, itertools.repeat(("pod.stays.example", socket.AF_INET)))
    racer.start()
    wait_for(lambda: racer.lost or len(racer.reached) > 100, "100 answers", PATIENCE_S)
    crowded.config["clusters"][0]["allow"] = [f"udp *.stays.example:{PORT}"]
    crowded.reload(timeout=PATIENCE_S)
    reached = len(racer.reached)
    wait_for(lambda: racer.lost or len(racer.reached) > reached + 100, "100 answers after the reload", PATIENCE_S)
    racer.over.set()
    racer.join(PATIENCE_S)
    assert racer.lost == []
    elements = {family: [Element(element).address for element in sets(lab)[f"learned.udp.{PORT}.prod-weu.v{family}"]] for family in (4, 6)}
    assert elements == {4: [STAYING["pod.stays.example"][0]], 6: []}
    assert "learned addresses" not in crowded.log()
