"""What the kernel forwards by the daemon's table, beside plain routing with source NAT, in the same run.

    bench_forwarding.py [--rounds N]

    client 10.9.1.2 ── 10.9.1.1 nva 10.9.2.1, pool 10.9.2.10-13 ── 10.9.2.2 origin

Three figures, each round in turn with one rule of `nft ... snat to`, and with aksegressd's whole table (the daemon runs, flow
records go to a file): one TCP stream (iperf3); the same while 20,000 addresses are in the sets that it is looked up in; and new
flows a second, each one UDP datagram from a port of its own.
"""

import argparse
import atexit
import json
import os
import pathlib
import shutil
import socket
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
sys.path.insert(0, str(ROOT / "tests/system"))

import lab  # noqa: E402

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
FLOWS = 20000
STREAM_SECONDS = 2
POOL = [f"10.9.2.{number}" for number in range(10, 14)]
PLAIN = """
table ip plain {
        chain postrouting {
                type nat hook postrouting priority srcnat;
                ip saddr 10.9.1.0/24 snat to jhash ip saddr mod 4 map { %s }
        }
}
""" % ", ".join(f"{index} : {address}" for index, address in enumerate(POOL))


class Network:
    """The three namespaces; everything is removed on leaving."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.gettempdir()) / f"aed-{os.getpid()}"
        self.client_environment = {}
        self.processes = []
        self.client = lab.Namespace(self, "client")
        self.nva = lab.Namespace(self, "nva")
        self.origin = lab.Namespace(self, "origin")

    def __enter__(self):
        if os.geteuid() != 0:
            raise PermissionError("the benchmark makes network namespaces: run it as root")
        lab.clean_dead()
        atexit.register(self.close)
        self.directory.mkdir(mode=0o755)
        for namespace in (self.client, self.nva, self.origin):
            namespace.create("127.0.0.1 localhost\n")
        for namespace, side, number in ((self.client, "client0", 1), (self.origin, "origin0", 2)):
            self.nva.batch(f"link add {side} type veth peer name eth0 netns {namespace.name}\nlink set {side} up\n"
                           f"address add 10.9.{number}.1/24 dev {side}\n")
            namespace.batch(f"link set eth0 up\naddress add 10.9.{number}.2/24 dev eth0\n"
                            f"route add default via 10.9.{number}.1\n")
        self.nva.batch("".join(f"address add {address}/24 dev origin0\n" for address in POOL))
        self.nva.sysctl(net__ipv4__ip_forward=1)
        self.client.sysctl(net__ipv4__ip_local_port_range="1024 65535")
        self.start("iperf3", self.origin.command("iperf3", "-s"), lambda: self.origin.listens("10.9.2.2", 5201))
        return self

    def start(self, label, argv, ready):
        process = lab.Process(argv, self.directory / f"{label}.log")
        self.processes.append(process)
        lab.wait_for(ready, f"answer of {label}: {process.output()}")
        return process

    def __exit__(self, *_):
        self.close()

    def close(self):
        atexit.unregister(self.close)
        for process in reversed(self.processes):
            process.stop(timeout=5)
        self.processes.clear()
        for namespace in (self.client, self.nva, self.origin):
            namespace.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


class Plain:
    """Routing, and one rule of source NAT."""

    name = "plain NAT"

    def __init__(self, network):
        self.network = network

    def start(self):
        self.network.nva.nft(PLAIN)

    def stop(self):
        self.network.nva.nft("delete table ip plain\n")


class Table:
    """aksegressd with network rules for the origin, others list prefixes beside it."""

    def __init__(self, network, prefixes=0):
        self.network = network
        self.name = "aksegressd" if prefixes == 0 else f"aksegressd, {prefixes} prefixes"
        self.prefixes = prefixes

    def start(self):
        directory = self.network.directory
        listed = [f"tcp [10.{20 + number // 16384}.{number // 64 % 256}.{number % 64 * 4}/32]:5201" for number in range(self.prefixes)]
        (directory / "list").write_text("\n".join(listed) + "\n")
        config = {
            "workers": 1, "listen": {"transparent": {"port": 15001}},
            "allowlist_dirs": [str(ROOT / "allowlists")],
            "snat_pools": [{"name": "main", "addresses": [f"{POOL[0]}-{POOL[-1]}"]}],
            "clusters": [{"name": "bench", "sources": ["10.9.1.0/24"], "cloud": "AzurePublicCloud", "location": "westeurope",
                          "snat_pool": "main", "private_destinations": ["10.0.0.0/8"],
                          "allow": ["tcp [10.9.2.2]:5201", "udp [10.9.2.2]:9", f"file:{directory}/list"]}],
            "resolver": {"servers": ["127.0.0.1"]},
            "logging": [{"sink": "file", "path": str(directory / "records.json"), "format": "json", "events": ["deny", "allow"]}],
        }
        (directory / "bench.yaml").write_text(json.dumps(config))
        log = directory / "aksegressd.log"
        log.unlink(missing_ok=True)
        self.process = self.network.start("aksegressd", self.network.nva.command(BUILD / "aksegressd", "--config", directory / "bench.yaml"),
                                          lambda: log.exists() and "rules" in log.read_text())
        lab.wait_for(lambda: self.network.client.listens("10.9.2.2", 5201), f"way through the table: {log.read_text()}")

    def stop(self):
        self.process.stop()
        self.network.processes.remove(self.process)
        self.network.nva.run(BUILD / "aksegressctl", "flush", check=True)
        self.network.nva.sysctl(net__ipv4__ip_forward=1)


def stream(network):
    """GB/s of one TCP stream."""
    done = network.client.run("iperf3", "-c", "10.9.2.2", "-t", STREAM_SECONDS, "-J", check=True)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 8e9


def new_flows(network):
    """Flows a second: datagrams from a port each, until the origin has the last one."""
    with network.origin.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    receiver.bind(("10.9.2.2", 9))
    receiver.settimeout(5)
    network.nva.run("conntrack", "-F")
    started = time.monotonic()
    arrived = 0
    with network.client.entered():
        for number in range(FLOWS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("10.9.1.2", 2000 + number))
                sender.sendto(b"x", ("10.9.2.2", 9))
    receiver.setblocking(False)
    try:
        while receiver.recv(16):
            arrived += 1
    except BlockingIOError:
        pass
    receiver.close()
    if arrived < FLOWS * 0.99:
        raise RuntimeError(f"only {arrived} of {FLOWS} flows arrived")
    return arrived / (time.monotonic() - started)


def compare(network, what, measure, others, rounds):
    figures = {}
    for number in range(rounds):
        for each in (others if number % 2 == 0 else others[::-1]):
            each.start()
            figures.setdefault(each.name, []).append(measure(network))
            each.stop()
    base = statistics.median(figures[others[0].name])
    print(what)
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"  {name:32}{median:12.2f}  x{median / base:.2f}   ({min(values):.2f} to {max(values):.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lab.end_on_signals()
    with Network() as network:
        plain, table, large = Plain(network), Table(network), Table(network, 20000)
        compare(network, "One TCP stream, GB/s", stream, [plain, table, large], rounds)
        compare(network, "New UDP flows a second", new_flows, [plain, table, large], rounds)


if __name__ == "__main__":
    main()
