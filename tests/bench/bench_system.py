"""The daemon beside other proxies of the distribution, in the same run: README.md says what the figures mean.

    bench_system.py [--rounds N] [--program FILE] [rate] [memory] [throughput] [denials] [records] [syscalls] [dns]

    client 10.9.0.2 ── veth ── 10.9.0.1 proxies, DNS server and origin (127.0.0.2, 127.0.0.3)
"""

import argparse
import atexit
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))

import lab  # noqa: E402
import peers  # noqa: E402

EXPLICIT = (peers.Aksegressd, peers.Squid)
BY_NAME = (peers.AksegressdTransparent, peers.Haproxy, peers.Nginx, peers.Sniproxy)
TUNNELS = 4000           # of one measurement of rate
CONCURRENT = 50
HELD = (2000, 6000)
PARTS = ("rate", "memory", "throughput", "denials", "records", "syscalls", "dns")
SINKS = (peers.NothingRecorded, peers.AllInFile, peers.Stalled, peers.StalledServer)
STORMS = (peers.DenialsUnrecorded, peers.Summarized, peers.EachDenial)
STORMING = "10.9.0.3"    # another client than the one that is measured
DNS_PEERS = (peers.AksegressdDns, peers.Unbound)
DNS_NAMES = 1000         # asked for in turn; they fit every cache


class Network:
    """Two namespaces, the DNS server and the origin; everything is removed on leaving."""

    root = ROOT

    def __init__(self):
        self.build = ROOT / os.environ.get("BUILD", "build")
        self.directory = pathlib.Path(tempfile.gettempdir()) / f"aed-{os.getpid()}"
        self.source = peers.ADDRESS
        self.client_environment = {}
        self.processes = []
        self.client = lab.Namespace(self, "client")
        self.proxies = lab.Namespace(self, "proxies")

    def __enter__(self):
        if os.geteuid() != 0:
            raise PermissionError("the benchmark makes network namespaces: run it as root")
        lab.clean_dead()
        atexit.register(self.close)
        self.directory.mkdir(mode=0o755)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _build(self):
        for namespace in (self.client, self.proxies):
            namespace.create("127.0.0.1 localhost\n")
            # Ports of ended connections are used again after a second: rounds follow each other quickly.
            namespace.sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="1024 65535",
                             net__core__somaxconn=4096)
        self.proxies.sysctl(net__ipv4__ip_local_reserved_ports="3128-3129,8443-8445,15001-15002",
                            net__ipv4__ip_forward=1)
        self.proxies.batch(f"""
link add client0 type veth peer name eth0 netns {self.client.name}
link set client0 up
address add {peers.ADDRESS}/24 dev client0""")
        self.client.batch(f"""
link set eth0 up
address add 10.9.0.2/24 dev eth0
address add {STORMING}/24 dev eth0
route add default via {peers.ADDRESS}""")
        self._start_dns()
        self.start("origin", self.proxies.command(self.build / "tests/bench/origin_tunnels",
                                                  *(f"{address}:443" for address in peers.ORIGINS.values())),
                   ready=lambda: all(self.proxies.listens(address, 443) for address in peers.ORIGINS.values()))

    def _start_dns(self):
        zone = self.directory / "zone"
        zone.write_text("@ 3600 SOA ns hostmaster 1 3600 3600 3600 3600\n@ 3600 NS ns\nns 3600 A 127.0.0.1\n" + "".join(
            f"{name} 3600 A {address}\n" for name, address in peers.ORIGINS.items()) + "* 3600 A 203.0.113.1\n")
        conf = self.directory / "nsd.conf"
        conf.write_text(f"""
server:
        ip-address: 127.0.0.1
        username: ""
        chroot: ""
        zonesdir: "{self.directory}"
        database: ""
        rrl-ratelimit: 0
        pidfile: ""
        xfrdfile: ""
        zonelistfile: "{self.directory}/zone.list"
        xfrdir: "{self.directory}"
remote-control:
        control-enable: no
zone:
        name: {peers.ALLOWED_ZONE}
        zonefile: {zone}
""")
        self.start("nsd", self.proxies.command("nsd", "-d", "-c", conf), ready=lambda: self.proxies.listens("127.0.0.1", 53))

    def start(self, label, argv, ready, **options):
        process = lab.Process([str(item) for item in argv], self.directory / f"{label}.log", **options)
        self.processes.append(process)

        def answer():
            if not process.running():
                raise RuntimeError(f"{label} ended at once:\n{process.output()[-4000:]}")
            return ready()
        lab.wait_for(answer, f"answer of {label}: {process.output()}")
        return process

    def load_argv(self, peer, name, *options):
        argv = [self.build / "tests/bench/load_tunnels", "--to", "{}:{}".format(*peer.target), "--name", name, *options]
        return self.client.command(*argv, *(["--connect"] if peer.connect else []))

    def load(self, peer, name, *options):
        """Runs load_tunnels to its end and returns what it printed, with the peer's CPU time."""
        before = peer.cpu_seconds()
        output = subprocess.run(self.load_argv(peer, name, *options), capture_output=True, text=True, check=True, timeout=120,
                                preexec_fn=lab.die_with_parent)
        peers.wait_quiet(peer)
        return {**json.loads(output.stdout), "cpu_seconds": peer.cpu_seconds() - before}

    def close(self):
        atexit.unregister(self.close)
        for process in reversed(self.processes):
            process.stop(timeout=5)
        self.processes.clear()
        for namespace in (self.client, self.proxies):
            namespace.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def started(network, classes, program):
    """Starts those of the peers that are installed."""
    running = []
    for each in classes:
        peer = each(network, program) if issubclass(each, peers.Aksegressd) else each(network)
        if peer.available():
            running.append(peer.start())
        else:
            print(f"  {peer.name} is not installed, left out")
    return running


def stop(running):
    for peer in running:
        peer.stop()


def in_turn(running, rounds, measure):
    """measure(peer) for every peer, round by round, each round in the other direction; results by peer."""
    results = {peer.name: [] for peer in running}
    for number in range(rounds):
        for peer in running if number % 2 == 0 else reversed(running):
            results[peer.name].append(measure(peer))
    return results


def median(samples, key):
    return statistics.median(key(sample) for sample in samples)


def table(title, columns, results):
    """Prints medians, one peer a line; beside each its ratio to the first peer, which is ours."""
    print(f"\n{title}")
    print("  " + f"{'':24}" + "".join(f"{name:>24}" for name in columns))
    first = next(iter(results))
    for name, samples in results.items():
        line = f"  {name:24}"
        for form, key in columns.values():
            ours, value = median(results[first], key), median(samples, key)
            ratio = f" ({value / ours:5.2f} x)" if ours else ""
            line += f"{form.format(value) + ratio:>24}"
        print(line, flush=True)


RATE_COLUMNS = {
    "connections/s": ("{:.0f}", lambda s: s["per_second"]),
    "p50 us": ("{:.0f}", lambda s: s["p50_us"]),
    "p99 us": ("{:.0f}", lambda s: s["p99_us"]),
    "CPU us/connection": ("{:.0f}", lambda s: 1e6 * s["cpu_seconds"] / s["done"]),
}


def check(result, peer):
    """A proxy that fails some connections is not measured by the others."""
    if result["failed"] or result["open"] or not result["done"]:
        raise RuntimeError(f"{peer.name}: {result}; its log: {peer.process.output()[-2000:]}")
    return result


def bench_rate(network, arguments):
    options = ("--total", TUNNELS, "--concurrent", CONCURRENT, "--seconds", 20)
    for title, classes in (("Tunnels by CONNECT", EXPLICIT), ("Tunnels by server name", BY_NAME)):
        running = started(network, classes, arguments.program)
        for peer in running:
            network.load(peer, "short.bench.test", "--total", 500)  # caches and heaps fill
        results = in_turn(running, arguments.rounds,
                          lambda peer: check(network.load(peer, "short.bench.test", *options), peer))
        table(f"{title}: {TUNNELS} of each round, {CONCURRENT} at a time", RATE_COLUMNS, results)
        stop(running)


def held_memory(network, peer, count):
    """PSS while that many idle tunnels stand."""
    argv = [str(item) for item in network.load_argv(peer, "short.bench.test", "--hold", "--total", count, "--concurrent",
                                                    100, "--seconds", 60)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=lab.die_with_parent) as holder:
        result = json.loads(holder.stdout.readline())
        if result["done"] != count:
            raise RuntimeError(f"{peer.name} holds {result}; its log: {peer.process.output()[-2000:]}")
        peers.wait_quiet(peer)
        used = peer.memory_bytes()
        holder.stdin.close()
        holder.wait(20)
    return used


def bench_memory(network, arguments):
    results = {}
    for each in (*EXPLICIT, *BY_NAME):
        used = []
        for count in HELD:
            running = started(network, [each], arguments.program)
            used.append(sum(held_memory(network, peer, count) for peer in running))
            stop(running)
        if used[0]:
            results[each.name] = [{"each": (used[1] - used[0]) / (HELD[1] - HELD[0]), "all": used[1]}]
    table(f"Memory of idle tunnels: difference of {HELD[0]} and {HELD[1]}", {
        "bytes/tunnel": ("{:.0f}", lambda s: s["each"]),
        f"MiB with {HELD[1]}": ("{:.1f}", lambda s: s["all"] / 1048576),
    }, results)


def bench_throughput(network, arguments):
    for streams in (1, 20):
        running = started(network, (*BY_NAME, peers.Squid), arguments.program)
        results = in_turn(running, arguments.rounds, lambda peer: network.load(
            peer, "bulk.bench.test", "--bulk", "--total", streams, "--concurrent", streams, "--seconds", 2))
        table(f"Throughput, {streams} stream(s)", {
            "GB/s": ("{:.2f}", lambda s: s["bytes_per_second"] / 1e9),
            "CPU s/GB": ("{:.2f}", lambda s: s["cpu_seconds"] / (s["bytes_per_second"] * s["seconds"] / 1e9)),
        }, results)
        stop(running)


def bench_denials(network, arguments):
    classes = [each for each in EXPLICIT if each.logs_denials]
    running = started(network, classes, arguments.program)
    results = in_turn(running, arguments.rounds, lambda peer: check(network.load(
        peer, peers.DENIED, "--refused", "--total", TUNNELS, "--concurrent", CONCURRENT), peer))
    table(f"Denials by CONNECT, each recorded in a file: {TUNNELS} of each round", RATE_COLUMNS, results)
    with running[0].directory.joinpath("decisions.json").open() as records:
        recorded = sum(peers.DENIED in line for line in records)
    print(f"  aksegressd recorded {recorded} of {TUNNELS * arguments.rounds}")
    stop(running)


def alone(network, classes, arguments, measure):
    """measure(peer) of each class in turn, each time in a fresh process with nothing else beside it."""
    def fresh(peer):
        peer.start()
        network.load(peer, "short.bench.test", "--total", 6000, "--concurrent", CONCURRENT)  # caches, heaps and queues fill
        try:
            return measure(peer)
        finally:
            peer.stop()
    return in_turn([each(network, arguments.program) for each in classes], arguments.rounds, fresh)


def beside_storm(network, peer):
    """Tunnels of one client while another is refused without a pause."""
    argv = network.load_argv(peer, peers.DENIED, "--refused", "--from", STORMING, "--total", 1000000, "--seconds", 60)
    with subprocess.Popen([str(item) for item in argv], stdout=subprocess.DEVNULL, preexec_fn=lab.die_with_parent) as storm:
        before = peer.memory_bytes()
        result = check(network.load(peer, "short.bench.test", "--total", TUNNELS, "--concurrent", 5), peer)
        grown = peer.memory_bytes() - before
        storm.terminate()
    return {**result, "grown": grown}


def bench_records(network, arguments):
    results = alone(network, SINKS, arguments, lambda peer: check(network.load(
        peer, "short.bench.test", "--total", TUNNELS, "--concurrent", 5), peer))
    table(f"Tunnels by CONNECT, by what becomes of their records: {TUNNELS} of each round, 5 at a time", RATE_COLUMNS, results)
    results = alone(network, STORMS, arguments, lambda peer: beside_storm(network, peer))
    columns = {**RATE_COLUMNS, "MiB grown": ("{:.1f}", lambda s: round(s["grown"] / 1048576, 1) + 0.0)}
    del columns["CPU us/connection"]  # most of it is the storm's
    table("The same beside a storm of denials of another client", columns, results)


def is_traced(status):
    return "TracerPid:\t0\n" not in status.read_text()


def syscalls(network, peer, count):
    """What strace counts, by name, while count tunnels come and go."""
    path = peer.directory / "strace"
    argv = ["strace", "-c", "-f", "-o", str(path)]
    for pid in peers.tree(peer.process.pid):
        argv += ["-p", str(pid)]
    tracer = lab.Process(argv, peer.directory / "strace.log")
    lab.wait_for(lambda: all(is_traced(status) for pid in peers.tree(peer.process.pid)
                             for status in pathlib.Path("/proc").glob(f"{pid}/task/*/status")), "strace")
    network.load(peer, "short.bench.test", "--total", count)
    tracer.stop(2)
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z_]\w*)$", path.read_text(), re.MULTILINE)
    return {name: int(calls) / count for calls, name in rows if name != "total"}


def bench_syscalls(network, arguments):
    print("\nSystem calls per connection (strace -c -f)")
    for each in (*EXPLICIT, *BY_NAME):
        for peer in started(network, [each], arguments.program):
            network.load(peer, "short.bench.test", "--total", 200)
            counts = syscalls(network, peer, 1000)
            listing = ", ".join(f"{name} {calls:.1f}" for name, calls in
                                sorted(counts.items(), key=lambda item: -item[1]) if calls >= 0.05)
            print(f"  {peer.name:24}{sum(counts.values()):6.1f}  {listing}", flush=True)
            peer.stop()


def dnsperf(network, peer, queries, *options):
    """Two seconds of dnsperf, with the peer's CPU time."""
    before = peer.cpu_seconds()
    argv = network.client.command("dnsperf", "-s", peer.target[0], "-p", peer.target[1], "-d", queries, "-l", 2, "-c", 20, "-T", 1,
                                  "-q", 200, *options)
    output = subprocess.run([str(item) for item in argv], capture_output=True, text=True, check=True, timeout=60,
                            preexec_fn=lab.die_with_parent).stdout
    used = peer.cpu_seconds() - before
    done = int(re.search(r"Queries completed:\s+(\d+)", output)[1])
    lost = int(re.search(r"Queries lost:\s+(\d+)", output)[1])
    return {"per_second": float(re.search(r"Queries per second:\s+([\d.]+)", output)[1]), "done": done, "lost": lost,
            "latency_us": 1e6 * float(re.search(r"Average Latency \(s\):\s+([\d.]+)", output)[1]), "cpu_seconds": used,
            "codes": re.search(r"Response codes:\s+(.*)", output)[1]}


def bench_dns(network, arguments):
    allowed, refused = network.directory / "allowed", network.directory / "refused"
    allowed.write_text("".join(f"n{number}.{peers.ALLOWED_ZONE} A\n" for number in range(DNS_NAMES)))
    refused.write_text("".join(f"n{number}.{peers.DENIED} A\n" for number in range(DNS_NAMES)))
    columns = {
        "queries/s": ("{:.0f}", lambda s: s["per_second"]),
        "latency us": ("{:.0f}", lambda s: s["latency_us"]),
        "CPU us/query": ("{:.2f}", lambda s: 1e6 * s["cpu_seconds"] / s["done"]),
        "lost of 10000": ("{:.1f}", lambda s: 10000 * s["lost"] / (s["done"] + s["lost"])),
    }
    running = started(network, DNS_PEERS, arguments.program)
    for title, queries, options in (("answers from the cache, UDP", allowed, ()),
                                    ("answers from the cache, TCP", allowed, ("-m", "tcp")),
                                    ("refusals, UDP", refused, ())):
        for peer in running:
            dnsperf(network, peer, queries, *options)  # caches fill
        results = in_turn(running, arguments.rounds, lambda peer, queries=queries, options=options: dnsperf(
            network, peer, queries, *options))
        table(f"DNS: {title}, {DNS_NAMES} names", columns, results)
        print("  " + "; ".join(f"{name}: {samples[-1]['codes']}" for name, samples in results.items()))
    stop(running)


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{os.cpu_count()} cores of {model[1] if model else 'unknown'}, Linux {os.uname().release}, "
          f"load {os.getloadavg()[0]:.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", help="another aksegressd than the one built")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    arguments = parser.parse_args()
    if not set(arguments.parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    lab.end_on_signals()
    machine()
    with Network() as network:
        print(", ".join(f"{peer.name} {peer.version()}" for peer in (each(network) for each in (
            peers.Aksegressd, peers.Squid, peers.Haproxy, peers.Nginx, peers.Sniproxy, peers.Unbound)) if peer.available()))
        for part in arguments.parts or PARTS:
            globals()[f"bench_{part}"](network, arguments)


if __name__ == "__main__":
    main()
