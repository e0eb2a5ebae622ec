"""The proxies that bench_system.py measures: how each is configured and started, what its processes cost."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

from lab import wait_for

ADDRESS = "10.9.0.1"             # of the proxies, as the client sees them
CLIENTS = "10.9.0.0/24"
ANYWHERE = "203.0.113.10"        # what a client dials that is steered to aksegressd
ALLOWED_ZONE = "bench.test"      # short.bench.test, bulk.bench.test
DENIED = "denied.other.test"
ORIGINS = {"short": "127.0.0.2", "bulk": "127.0.0.3"}
TUNNELS_MAX = 9000           # two descriptors each, of 20,000


def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


class Peer:
    """One proxy with one worker thread or process, reached at target (with CONNECT or by the name in the hello)."""

    name = ""
    package = ""                 # to ask for a version; "" is ours
    program = ""
    target = (ADDRESS, 0)
    connect = False
    logs_denials = False

    def __init__(self, network):
        self.network = network
        self.directory = network.directory / self.name
        self.process = None

    def available(self):
        return os.access(self.program, os.X_OK)

    def version(self):
        listing = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", self.package], capture_output=True, text=True,
                                 check=False)
        return listing.stdout

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def argv(self):
        raise NotImplementedError

    def start(self):
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o777)
        self.process = self.network.start(self.name, self.network.proxies.command(*self.argv()), ready=self.ready)
        return self

    def ready(self):
        return self.network.proxies.listens(*self.target)

    def stop(self):
        self.process.stop()
        self.network.processes.remove(self.process)
        self.process = None

    def cpu_seconds(self):
        """User and system time of all its threads so far, finer than the clock ticks of /proc/PID/stat."""
        return sum(int(path.read_text().split()[0]) for pid in tree(self.process.pid)
                   for path in pathlib.Path("/proc").glob(f"{pid}/task/*/schedstat")) / 1e9

    def memory_bytes(self):
        """Proportional set size of all its processes."""
        total = 0
        for pid in tree(self.process.pid):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total


class Aksegressd(Peer):
    """Ours, one worker, with every denial going to a file."""

    name = "aksegressd"
    target = (ADDRESS, 3128)
    connect = True
    logs_denials = True
    transparent_port = 15001

    def __init__(self, network, program=None):
        super().__init__(network)
        self.program = program or network.build / "aksegressd"

    def version(self):
        return subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False).stdout.strip()

    def argv(self):
        path = self.write("aksegressd.yaml", f"""
workers: 1
listen:
  transparent: {{ port: {self.transparent_port} }}
  proxy: {{ address: {self.target[0]}, port: 3128 }}
allowlist_dirs: [{self.network.root}/allowlists]
snat_pools: [{{ name: main, addresses: [{self.network.source}] }}]
clusters:
  - name: bench
    sources: [{CLIENTS}]
    cloud: AzurePublicCloud
    location: westeurope
    snat_pool: main
    allow: ["https *.{ALLOWED_ZONE}:443"]
    private_destinations: [127.0.0.0/8]
resolver: {{ servers: [127.0.0.1] }}
logging: [{self.logging()}]
""")
        return [self.program, "--config", path]

    def logging(self):
        """The one sink."""
        return self.file("deny")

    def file(self, events, path="decisions.json", summarize="off"):
        return (f"{{ sink: file, path: {self.directory}/{path}, format: json, events: [{events}], summarize: {summarize}, "
                "queue: 4096 }")


class NothingRecorded(Aksegressd):
    """Allowed tunnels leave no record."""

    name = "nothing recorded"

    def logging(self):
        return self.file("deny")


class AllInFile(Aksegressd):
    name = "a file takes all"

    def logging(self):
        return self.file("deny, allow")


class Stalled(Aksegressd):
    """The sink's queue is full before the measurement, and stays so: every record is lost."""

    name = "a pipe that nobody reads"

    def logging(self):
        pipe = self.directory / "pipe"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        self.reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        return self.file("deny, allow", "pipe")

    def stop(self):
        super().stop()
        os.close(self.reader)


class StalledServer(Aksegressd):
    """The server takes connections and reads nothing; records wait in a spool on disk."""

    name = "a server that stalls"

    def logging(self):
        with self.network.proxies.entered():
            self.server = socket.create_server(("127.0.0.1", 0))
        port = self.server.getsockname()[1]
        return (f"{{ sink: syslog, transport: tcp, address: 127.0.0.1:{port}, events: [deny, allow], summarize: off, "
                f"spool: {self.directory}/spool }}")

    def stop(self):
        super().stop()
        self.server.close()
        shutil.rmtree(self.directory / "spool")


class Summarized(Aksegressd):
    """As shipped: denials of one kind are summed up."""

    name = "denials summed up"

    def logging(self):
        return self.file("deny", summarize="10s")


class DenialsUnrecorded(Aksegressd):
    name = "denials not recorded"

    def logging(self):
        return self.file("allow")


class EachDenial(Aksegressd):
    name = "each denial recorded"


class AksegressdTransparent(Aksegressd):
    """The same by TPROXY: the client dials an address on the internet."""

    name = "aksegressd-transparent"
    target = (ANYWHERE, 443)
    connect = False
    transparent_port = 15002

    def argv(self):
        program, option, path = super().argv()
        text = pathlib.Path(path).read_text()
        text = "\n".join(line for line in text.split("\n") if "proxy:" not in line)
        pathlib.Path(path).write_text(text)
        return [program, option, path]

    def ready(self):
        return self.network.client.listens(*self.target)


class AksegressdDns(Aksegressd):
    """The DNS listener alone; refusals are recorded in the file."""

    name = "aksegressd-dns"
    target = (ADDRESS, 53)
    connect = False

    def argv(self):
        program, option, path = super().argv()
        text = pathlib.Path(path).read_text()
        text = "\n".join(line for line in text.split("\n") if "transparent:" not in line)
        text = text.replace(f"proxy: {{ address: {self.target[0]}, port: 3128 }}", f"dns: {{ address: {self.target[0]} }}")
        pathlib.Path(path).write_text(text)
        return [program, option, path]


class Unbound(Peer):
    """A resolver with one thread that forwards one zone and refuses the rest."""

    name = "unbound"
    package = "unbound"
    program = "/usr/sbin/unbound"
    target = (ADDRESS, 5353)

    def argv(self):
        return [self.program, "-d", "-c", self.write("unbound.conf", f"""
server:
  interface: {ADDRESS}@5353
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  access-control: {CLIENTS} allow
  do-not-query-localhost: no
  module-config: "iterator"
  incoming-num-tcp: 100
  local-zone: "test." nodefault
  local-zone: "{DENIED}." refuse
forward-zone:
  name: "{ALLOWED_ZONE}."
  forward-addr: 127.0.0.1
remote-control:
  control-enable: no
""")]


class Squid(Peer):
    name = "squid"
    package = "squid-openssl"
    program = "/usr/sbin/squid"
    target = (ADDRESS, 3129)
    connect = True
    logs_denials = True

    def argv(self):
        return [self.program, "-N", "-f", self.write("squid.conf", f"""
http_port {ADDRESS}:3129
acl allowed dstdomain .{ALLOWED_ZONE}
http_access allow allowed
http_access deny all
dns_nameservers 127.0.0.1
max_filedescriptors 20000
cache deny all
cache_mem 1 MB
access_log stdio:{self.directory}/access.log !allowed
cache_log {self.directory}/cache.log
coredump_dir {self.directory}
pid_filename none
pinger_enable off
shutdown_lifetime 1 seconds
""")]


class Haproxy(Peer):
    """Its servers are given by address: it is spared the look-up."""

    name = "haproxy"
    package = "haproxy"
    program = "/usr/sbin/haproxy"
    target = (ADDRESS, 8443)

    def argv(self):
        backends = "".join(f"backend {name}\n        server origin {address}:443\n" for name, address in ORIGINS.items())
        rules = "".join(f"        use_backend {name} if {{ req.ssl_sni -i {name}.{ALLOWED_ZONE} }}\n" for name in ORIGINS)
        return [self.program, "-db", "-f", self.write("haproxy.cfg", f"""
global
        nbthread 1
        maxconn {TUNNELS_MAX}
        maxpipes 200
defaults
        mode tcp
        option splice-auto
        timeout connect 10s
        timeout client 30m
        timeout server 30m
frontend sni
        bind {ADDRESS}:8443
        tcp-request inspect-delay 10s
        tcp-request content accept if {{ req.ssl_hello_type 1 }}
        tcp-request content reject
{rules}
{backends}""")]


class Nginx(Peer):
    name = "nginx"
    package = "nginx"
    program = "/usr/sbin/nginx"
    target = (ADDRESS, 8444)
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

    def available(self):
        return super().available() and self.module.exists()

    def argv(self):
        return [self.program, "-e", f"{self.directory}/error.log", "-c", self.write("nginx.conf", f"""
load_module {self.module};
daemon off;
pid {self.directory}/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
stream {{
        resolver 127.0.0.1 ipv6=off;
        map $ssl_preread_server_name $origin {{
                hostnames;
                *.{ALLOWED_ZONE} $ssl_preread_server_name:443;
                default "";
        }}
        server {{
                listen {ADDRESS}:8444 backlog=4096;
                ssl_preread on;
                proxy_timeout 30m;
                proxy_pass $origin;
        }}
}}
""")]


class Sniproxy(Peer):
    name = "sniproxy"
    package = "sniproxy"
    program = "/usr/sbin/sniproxy"
    target = (ADDRESS, 8445)

    def argv(self):
        return [self.program, "-f", "-n", "20000", "-c", self.write("sniproxy.conf", f"""
user nobody
pidfile {self.directory}/sniproxy.pid
error_log {{
        filename {self.directory}/error.log
        priority error
}}
resolver {{
        nameserver 127.0.0.1
        mode ipv4_only
}}
listener {ADDRESS}:8445 {{
        protocol tls
        table bench
}}
table bench {{
        .*\\.{ALLOWED_ZONE.replace(".", chr(92) + ".")}$ *:443
}}
""")]


def wait_quiet(peer, seconds=0.2, timeout=5.0):
    """Waits until the peer's processes use no CPU time for a moment: what the last load left is done."""
    busy_at, used = time.monotonic(), peer.cpu_seconds()

    def quiet():
        nonlocal busy_at, used
        now = peer.cpu_seconds()
        if now != used:
            busy_at, used = time.monotonic(), now
        return time.monotonic() - busy_at > seconds
    with contextlib.suppress(TimeoutError):
        wait_for(quiet, "quiet", timeout)
