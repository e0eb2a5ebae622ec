"""The internet of the lab: which names exist, and the real servers behind them (nsd, nginx, docker-registry)."""

import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

DNS_ADDRESS = "203.0.113.53"
IMAGE = "mcr.microsoft.com/oss/kubernetes/pause:3.9"

# Names that nginx answers for over TLS (HTTP/1.1 and HTTP/2) and cleartext, each with an address of its own.
WEB_NAMES = [
    "mcr.microsoft.com",
    "westeurope.data.mcr.microsoft.com",
    "login.microsoftonline.com",
    "packages.microsoft.com",
    "packages.aks.azure.com",
    "management.azure.com",
    "acs-mirror.azureedge.net",
    "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io",
    "prod-dns-9f8e7d.hcp.westeurope.azmk8s.io",
    "prod-dns-1a2b3c.hcp.eastus.azmk8s.io",
    "global.handler.control.monitor.azure.com",
    "security.ubuntu.com",
    "archive.ubuntu.com",
    "example.com",
    "evilmcr.microsoft.com",
    "mcr-microsoft.com",
    "mcr.microsoft.com.evil.example",
    "first.allowed.example",
    "second.allowed.example",
    "third.allowed.example",
    "forbidden.allowed.example",
    "only4.allowed.example",
    "only6.allowed.example",
]

# Names whose servers a test makes itself (or that have none), by the last number of their addresses.
OTHER_NAMES = {
    "odd.allowed.example": 200,
    "other-odd.allowed.example": 201,
    "refused.allowed.example": 210,
    "ntp.ubuntu.com": 220,
    "git.example": 221,
    "echo.example": 222,
    "other-echo.example": 223,
    "quic.example": 224,
    "siem.example": 225,
    "silent.allowed.example": 250,
    "unreachable.allowed.example": 251,
}


class Zone:
    """Every name of the lab with its addresses."""

    def __init__(self):
        numbers = {name: 100 + index for index, name in enumerate(WEB_NAMES)}
        numbers.update(OTHER_NAMES)
        self.numbers = numbers

    def v4(self, name):
        return f"203.0.113.{self.numbers[name]}"

    def v6(self, name):
        return f"2001:db8:f::{self.numbers[name]}"

    def has_v4(self, name):
        return not name.startswith("only6.")

    def has_v6(self, name):
        return not name.startswith("only4.")

    def hosts(self):
        """A hosts file with every name: what the clients' own resolver says."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for name in self.numbers:
            lines += [f"{self.v4(name)} {name}"] if self.has_v4(name) else []
            lines += [f"{self.v6(name)} {name}"] if self.has_v6(name) else []
        return "\n".join(lines) + "\n"

    def text(self):
        """The zone file that the daemon's DNS server serves; everything is in the root zone."""
        lines = ["$ORIGIN .", "$TTL 30", ". SOA a.lab. hostmaster.lab. 1 3600 600 86400 5", ". NS a.lab.", f"a.lab. A {DNS_ADDRESS}"]
        for name in self.numbers:
            lines += [f"{name}. A {self.v4(name)}"] if self.has_v4(name) else []
            lines += [f"{name}. AAAA {self.v6(name)}"] if self.has_v6(name) else []
        lines += [
            "nodata.allowed.example. TXT \"no address\"",
            "private.allowed.example. A 10.20.30.40",
            "private.allowed.example. AAAA fd00:20::40",
            "loopback.allowed.example. A 127.0.0.1",
            "platform.allowed.example. A 168.63.129.16",
            "own.allowed.example. A 198.18.1.1",
            "partly-private.allowed.example. A 203.0.113.210",
            "partly-private.allowed.example. A 10.20.30.41",
            "partly-platform.allowed.example. A 203.0.113.210",
            "partly-platform.allowed.example. A 169.254.169.254",
            "host.corp.example. A 10.30.0.5",
            "platform.corp.example. A 169.254.169.254",
            "service.allowed.example. HTTPS 1 . alpn=h2 ipv4hint=203.0.113.210,10.20.30.40 ech=AEX+DQBBpQAgACAA",
            "alias.allowed.example. CNAME first.allowed.example.",
            "broken.servfail.example. CNAME name.servfail.test.",
            "servfail.test. NS a.lab.",
        ]
        lines += [f"large.allowed.example. AAAA 2001:db8:f::{number}" for number in range(1, 61)]
        return "\n".join(lines) + "\n"


def run(*argv, **options):
    subprocess.run([str(item) for item in argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, **options)


def make_certificates(directory, names):
    """A throw-away CA (ca.pem), and a certificate of it for all names (server.pem, server.key)."""
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *ec, "-days", "2", "-subj", "/CN=aksegressd lab CA", "-keyout", directory / "ca.key", "-out",
        directory / "ca.pem")
    run("openssl", "req", *ec, "-subj", "/CN=lab origin", "-keyout", directory / "server.key", "-out", directory / "server.csr")
    extensions = directory / "server.ext"
    extensions.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", directory / "server.csr", "-CA", directory / "ca.pem", "-CAkey", directory / "ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", directory / "server.pem")


def make_image(directory):
    """An OCI layout with one tiny image, made by hand."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def store(data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        text = b"a layer of the lab's image\n" * 2000
        entry = tarfile.TarInfo("pause.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    packed = gzip.compress(layer.getvalue(), mtime=0)
    layer_digest, layer_size = store(packed)
    config_digest, config_size = store(json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]},
    }).encode())
    manifest_digest, manifest_size = store(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest, "size": layer_size}],
    }).encode())
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps({
        "schemaVersion": 2,
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest_digest,
                       "size": manifest_size, "annotations": {"org.opencontainers.image.ref.name": "lab"}}],
    }))


NGINX_HEAD = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  log_format lab escape=json '{{"client":"$remote_addr","port":$remote_port,"sni":"$ssl_server_name","host":"$host",'
                             '"uri":"$request_uri","method":"$request_method","status":$status,"server":"$server_addr",'
                             '"protocol":"$server_protocol"}}';
  access_log {directory}/access.log lab;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-1; uwsgi_temp_path {directory}/nginx-2; scgi_temp_path {directory}/nginx-3;
  ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3; client_max_body_size 0; keepalive_requests 100000; default_type text/plain;
"""

WEB_LOCATIONS = """
    location / {{ return 200 "origin=$host peer=$remote_addr port=$remote_port sni=$ssl_server_name uri=$request_uri\\n"; }}
    location /file/ {{ alias {directory}/file/; }}
    location /upload {{ proxy_pass http://127.0.0.1:5000/; }}
"""
REGISTRY_LOCATIONS = """
    location /v2/ {{ proxy_pass http://127.0.0.1:5000; proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto https; }}
"""
MCR_LOCATIONS = REGISTRY_LOCATIONS + """
    location ~ ^/v2/.+/blobs/ {{ return 307 https://westeurope.data.mcr.microsoft.com$request_uri; }}
"""


class Origins:
    """Starts the real servers of the internet and reads their logs."""

    def __init__(self, lab):
        self.lab = lab
        self.directory = lab.directory

    def start(self):
        directory, internet = self.directory, self.lab.internet
        make_certificates(directory, [*WEB_NAMES, *OTHER_NAMES, "localhost"])
        self.lab.client_environment = {
            "SSL_CERT_FILE": str(directory / "ca.pem"), "CURL_CA_BUNDLE": str(directory / "ca.pem"),
            "HOME": str(directory), "NO_PROXY": "", "no_proxy": "", "XDG_RUNTIME_DIR": str(directory),
        }
        (directory / "file").mkdir()
        with open(directory / "file" / "big", "wb") as big:
            big.truncate(64 * 1024 * 1024)
        self._start_dns(internet)
        self._start_registry(internet)
        self._start_web(internet)
        self._push_image(internet)

    def _start_dns(self, internet):
        directory = self.directory
        (directory / "lab.zone").write_text(self.lab.zone.text())
        (directory / "nsd.conf").write_text(f"""
server:
  ip-address: {DNS_ADDRESS}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  database: ""
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  xfrdir: "{directory}"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: lab.zone
zone:
  name: "servfail.test"
  zonefile: there-is-no-such-file.zone
zone:
  name: "servfail.example"
  zonefile: there-is-no-such-file-either.zone
""")
        internet.start("nsd", "nsd", "-d", "-c", directory / "nsd.conf", ready=lambda: internet.listens(DNS_ADDRESS, 53))

    def _start_registry(self, internet):
        configuration = self.directory / "registry.yml"
        configuration.write_text(json.dumps({
            "version": 0.1, "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "registry")}},
            "http": {"addr": "127.0.0.1:5000", "secret": "lab"},
        }))
        internet.start("registry", "docker-registry", "serve", configuration, ready=lambda: internet.listens("127.0.0.1", 5000))

    def _start_web(self, internet):
        directory, zone = self.directory, self.lab.zone
        text = NGINX_HEAD.format(directory=directory)
        for name in WEB_NAMES:
            addresses = [zone.v4(name)] if zone.has_v4(name) else []
            addresses += [f"[{zone.v6(name)}]"] if zone.has_v6(name) else []
            listens = " ".join(f"listen {address}:443 ssl http2; listen {address}:80;" for address in addresses)
            locations = {"mcr.microsoft.com": MCR_LOCATIONS,
                         "westeurope.data.mcr.microsoft.com": REGISTRY_LOCATIONS}.get(name, "") + WEB_LOCATIONS
            text += f"  server {{ {listens}\n{locations.format(directory=directory)}  }}\n"
        (directory / "nginx.conf").write_text(text + "}\n")
        internet.start("nginx", "nginx", "-e", directory / "nginx-error.log", "-c", directory / "nginx.conf",
                       ready=lambda: internet.listens(zone.v4(WEB_NAMES[0]), 443))

    def _push_image(self, internet):
        layout = self.directory / "image"
        make_image(layout)
        repository = IMAGE.partition("/")[2]
        internet.run("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}:lab",
                     f"docker://127.0.0.1:5000/{repository}", check=True)

    def access_log(self):
        """Every request that nginx has answered so far, as dictionaries."""
        path = pathlib.Path(self.directory / "access.log")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
