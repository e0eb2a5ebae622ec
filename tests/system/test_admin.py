"""The listeners for operators: metrics, health, readiness, and who else connects there."""

import json
import os
import re
import signal
import socket

import pytest

from clients import hello, http_response, read_all, read_until
from daemon import PROXY, ROOT, configuration
from lab import wait_for
from odd_origins import Origin, speak_first

ADMIN = ("127.0.0.1", 9180)
PROBE = ("198.18.1.1", 8080)
ODD_NAME = "odd.allowed.example"
MAX_CLIENTS = 64


def listening(config):
    config["listen"].update(admin={"address": ADMIN[0], "port": ADMIN[1]}, probe={"address": PROBE[0], "port": PROBE[1]})


@pytest.fixture
def admin(start_daemon):
    """A daemon with both listeners."""
    return start_daemon(listening)


def fetch(lab, path, *options, at=ADMIN):
    """curl from the NVA: (status, head, body)."""
    done = lab.nva.run("curl", "-sS", "-i", "--noproxy", "*", "--max-time", 10, *options, f"http://{at[0]}:{at[1]}{path}", check=True)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), head, body


def samples(lab):
    """Every sample of /metrics by its name and labels."""
    status, head, body = fetch(lab, "/metrics")
    assert status == 200, head
    return {name: int(value) for name, value in re.findall(r"^([^#\n].*) (\d+)$", body, re.M)}


def of_sink(lab, metric, name):
    return samples(lab)[f'aksegressd_{metric}{{sink="{name}"}}']


def raw(lab, request, at=ADMIN):
    """Sends bytes and returns all that comes back until the other side closes."""
    with lab.nva.connect(*at) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)[0]


def test_metrics_are_what_prometheus_reads(admin, lab, client):
    """promtool takes the page, which says the numbers of the sink, the policy and the version."""
    client.curl("http://example.com/")
    admin.expect_one_record(fqdn="example.com")
    status, head, body = fetch(lab, "/metrics")
    assert (status, head.splitlines()[0]) == (200, "HTTP/1.1 200 OK")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head.splitlines()
    done = lab.nva.run("promtool", "check", "metrics", input=body)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    found = samples(lab)
    version = lab.nva.run(admin.program, "--version").stdout.split()[-1]
    assert found[f'aksegressd_build_info{{version="{version}"}}'] == 1
    assert (found["aksegressd_policy_generation"], found["aksegressd_policy_reload_failures_total"]) == (1, 0)
    assert found[f'aksegressd_records_total{{sink="{admin.records_path}"}}'] == 1
    assert found[f'aksegressd_records_lost_total{{sink="{admin.records_path}"}}'] == 0
    assert found[f'aksegressd_records_queued{{sink="{admin.records_path}"}}'] == 0


def test_the_manual_has_each_metric(admin, lab):
    """docs/metrics.md has a row for each metric with its type, and no other."""
    body = fetch(lab, "/metrics")[2]
    rows = re.findall(r"^\| `(aksegressd_\w+)(?:\{(\w+)\})?` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    assert sorted((name, kind) for name, _, kind in rows) == sorted(re.findall(r"^# TYPE (\w+) (\w+)$", body, re.M))
    labels = {name: label for name, label in re.findall(r"^(\w+)(?:\{(\w+)=)?", body, re.M)}
    assert {name: label for name, label, _ in rows} == labels


def test_numbers_go_up_and_survive_a_reload(admin, lab, client):
    """Each record counts once; a reload that keeps the sink keeps its count, and has a generation or a failure of its own."""
    name = str(admin.records_path)
    for number in range(1, 4):
        client.curl("http://example.com/")
        wait_for(lambda: len(admin.records()) == number, "record")
        assert of_sink(lab, "records_total", name) == number
    admin.config["logging"][0]["queue"] = 100
    admin.config["logging"].append({"sink": "file", "path": "/dev/null", "format": "json"})
    admin.reload()
    admin.baseline += 3  # the file and two eventfds of the new sink
    found = samples(lab)
    assert found[f'aksegressd_records_total{{sink="{name}"}}'] == 3
    assert found['aksegressd_records_total{sink="/dev/null"}'] == 0
    assert (found["aksegressd_policy_generation"], found["aksegressd_policy_reload_failures_total"]) == (2, 0)
    admin.config["clusters"][0]["features"] = ["no-such-feature"]
    admin.reload()
    found = samples(lab)
    assert (found["aksegressd_policy_generation"], found["aksegressd_policy_reload_failures_total"]) == (2, 1)


def test_a_name_that_needs_escaping_is_read_back(start_daemon, lab):
    """A file's name may hold quotes and backslashes."""
    path = lab.directory / 'odd "\\name'

    def change(config):
        listening(config)
        config["logging"].append({"sink": "file", "path": str(path), "format": "json"})

    start_daemon(change)
    body = fetch(lab, "/metrics")[2]
    assert json.dumps(str(path)) in body
    done = lab.nva.run("promtool", "check", "metrics", input=body)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_a_sink_loses_is_counted(start_daemon, lab, client):
    """A journal that nobody reads loses its records, and the file beside it none."""
    def change(config):
        listening(config)
        config["logging"].append({"sink": "journal", "summarize": "off"})

    script = 'mount -t tmpfs tmpfs /run && exec "$@"'
    daemon = start_daemon(change, prefix=("unshare", "-m", "sh", "-c", script, "sh"))
    for _ in range(3):
        client.curl("http://example.com/")
    wait_for(lambda: len(daemon.matching(fqdn="example.com")) == 3, "records")
    assert wait_for(lambda: of_sink(lab, "records_lost_total", "journal") >= 3, "losses")
    assert of_sink(lab, "records_total", "journal") == 0
    assert of_sink(lab, "records_lost_total", daemon.records_path) == 0
    admitted = of_sink(lab, "records_lost_total", "journal")
    daemon.reload()
    assert of_sink(lab, "records_lost_total", "journal") >= admitted


def test_health_readiness_and_nothing_else(admin, lab):
    """Each page by GET and HEAD, others 404, other methods 405, and the probe listener has readiness alone."""
    for path, text in (("/healthz", "ok\n"), ("/readyz", "ready\n"), ("/readyz?verbose", "ready\n")):
        assert fetch(lab, path)[::2] == (200, text)
        status, head, body = fetch(lab, path, "--head")
        assert (status, body) == (200, "") and f"Content-Length: {len(text)}" in head
    assert fetch(lab, "/metrics", "--head")[::2] == (200, "")
    assert raw(lab, b"HEAD /healthz HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")
    for path in ("/", "/metrics/", "/readyz/../metrics", "/healthzz"):
        assert fetch(lab, path, "--path-as-is")[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        status, head, _ = fetch(lab, "/metrics", "-X", method)
        assert (status, "Allow: GET, HEAD" in head) == (405, True), method
    assert fetch(lab, "/readyz", at=PROBE)[::2] == (200, "ready\n")
    for path in ("/metrics", "/healthz", "/"):
        assert fetch(lab, path, at=PROBE)[0] == 404


def test_connections_are_kept_and_closed_as_http_wants(admin, lab):
    """Two requests on one connection, also sent at once; HTTP/1.0 and Connection: close end it."""
    assert raw(lab, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n"
               b"GET /healthz HTTP/1.1\r\n\r\n").count(b"HTTP/1.1 ") == 3
    many = raw(lab, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 500 + b"GET /readyz HTTP/1.0\r\n\r\n")  # more than is read ahead
    assert (many.count(b"\r\n\r\nok\n"), many.count(b"\r\n\r\nready\n")) == (500, 1)
    with lab.nva.connect(*ADMIN) as connection:
        for request, closes in ((b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", False), (b"GET /metrics HTTP/1.1\r\n\r\n", False),
                                (b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True)):
            connection.sendall(request)
            status, head, _ = http_response(connection)[:3]
            text = head.decode() if isinstance(head, bytes) else head
            assert (status, "Connection: close" in text) == (200, closes)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("request_bytes, status", (
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    (b"GET /" + b"x" * 2000000, 431),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n", 431),
    (b"GET /metrics HTTP/1.1\r\nContent-Length: 10\r\n\r\n" + b"x" * 10, 413),
    (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
    (b"GET /metrics\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    (b"\0" * 5000 + b"\n", 400),
), ids=("long field", "endless line", "many fields", "body", "chunks", "TLS", "HTTP/0.9", "no field", "NUL"))
def test_what_cannot_be_read_is_refused(admin, lab, request_bytes, status):
    """The client reads why, the connection ends, and the next one is served."""
    with lab.nva.connect(*ADMIN) as connection:
        connection.sendall(request_bytes)
        received, _ = read_all(connection)
    assert received.startswith(b"HTTP/1.1 %d " % status) and received.count(b"HTTP/1.1 ") == 1, received[:200]
    assert b"Connection: close\r\n" in received
    assert fetch(lab, "/healthz")[0] == 200


def test_more_clients_than_allowed_are_served(admin, lab):
    """Twice as many connections as may be open at a time that say nothing, or half of something, keep nobody out."""
    idle = [lab.nva.connect(*ADMIN) for _ in range(2 * MAX_CLIENTS)]
    for number, connection in enumerate(idle[MAX_CLIENTS:]):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" if number % 2 else b"G")
    assert fetch(lab, "/readyz")[0] == 200
    ours = [what for what in admin.descriptors().values() if not what.startswith("pipe:")]
    assert len(ours) <= admin.baseline + MAX_CLIENTS
    for connection in idle[:MAX_CLIENTS]:
        assert connection.recv(1) == b""
    for connection in idle:
        connection.close()
    assert fetch(lab, "/healthz")[0] == 200


def test_who_does_not_read_is_let_go(admin, lab):
    """A client that asks on and on and reads nothing takes no memory of ours, and ends with its deadline."""
    before = memory(admin)
    with lab.nva.connect(*ADMIN) as connection:
        connection.setblocking(False)
        request = b"GET /metrics HTTP/1.1\r\n\r\n" * 1000
        with pytest.raises(BlockingIOError):
            while True:
                connection.send(request)
        assert fetch(lab, "/healthz")[0] == 200
        assert memory(admin) - before < 16 << 20
        wait_for(lambda: len([what for what in admin.descriptors().values() if not what.startswith("pipe:")]) <= admin.baseline,
                 "end of the connection", timeout=15)


def memory(daemon):
    """Bytes of its resident memory."""
    with open(f"/proc/{daemon.process.pid}/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_silence_is_ended(admin, lab):
    """A connection with half a request is closed after the deadline, without an answer."""
    with lab.nva.connect(*ADMIN, timeout=15) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert connection.recv(1) == b""


def test_draining_is_said(admin, lab, client):
    """After SIGTERM, while a connection is open: not ready, alive, and the metrics go on."""
    admin.config["drain"] = "30s"
    admin.reload()
    with Origin(lab, speak_first(b"x")), client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        assert connection.recv(1) == b"x"
        assert fetch(lab, "/readyz")[0] == 200
        admin.send(signal.SIGTERM)
        wait_for(lambda: admin.notified("STOPPING=1"), "STOPPING=1")
        assert fetch(lab, "/readyz")[::2] == (503, "draining\n")
        assert fetch(lab, "/readyz", at=PROBE)[::2] == (503, "draining\n")
        assert fetch(lab, "/healthz")[::2] == (200, "ok\n")
        assert of_sink(lab, "records_total", admin.records_path) == 0
        connection.sendall(b"\x17\x03\x03\x00\x04more")
        assert read_until(connection, b"more")
    admin.finish(timeout=10)


def test_clients_do_not_get_there_through_the_proxy(start_daemon, lab, client):
    """Whatever the rules and private_destinations list: it is a listener of ours."""
    def change(config):
        listening(config)
        config["clusters"][0]["allow"] += ["tcp [127.0.0.1]:9180", "tcp [198.18.1.1]:8080"]
        config["clusters"][0]["private_destinations"] = ["127.0.0.0/8", "198.18.1.0/24"]

    daemon = start_daemon(change)
    for address, port in (ADMIN, PROBE):
        with client.proxy() as connection:
            connection.sendall(f"CONNECT {address}:{port} HTTP/1.1\r\nHost: {address}:{port}\r\n\r\n".encode())
            assert http_response(connection)[0] == 403
        daemon.expect_one_record(reason="own-address", destination_port=port)


def test_a_reload_does_not_move_it(admin, lab):
    """As with the other listeners, a change needs a restart, and nothing else of the file takes effect."""
    admin.config["listen"]["admin"]["port"] = 9181
    admin.reload()
    admin.wait_log("reload failed: listen.admin changed, which needs a restart")
    admin.config["listen"]["admin"]["port"] = 9180
    del admin.config["listen"]["probe"]
    admin.reload()
    admin.wait_log("reload failed: listen.probe changed, which needs a restart")
    assert samples(lab)["aksegressd_policy_reload_failures_total"] == 2


def test_a_taken_port_is_said(start_daemon, lab):
    """The daemon does not start, and says which listener could not be opened."""
    with lab.nva.listen(*ADMIN):
        with pytest.raises(RuntimeError, match="listen.admin: cannot listen on 127.0.0.1:9180: Address already in use"):
            start_daemon(listening)


def test_without_the_key_nothing_listens(daemon, lab):
    """Off unless given."""
    assert "admin" not in configuration(lab)["listen"] and lab.nva.listens(*PROXY)
    assert not lab.nva.listens(*ADMIN) and not lab.nva.listens(*PROBE)
