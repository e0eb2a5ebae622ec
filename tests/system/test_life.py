"""Start, reload, drain, stop, and death."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

from clients import hello, http_response, read_all, read_until
from daemon import BUILD, ROOT, Daemon, configuration
from lab import wait_for
from odd_origins import Origin, keep_open, speak_first

ODD_NAME = "odd.allowed.example"
RELOADS = int(os.environ.get("RELOADS", "1000"))


def check_config(lab, config):
    """Runs --check-config on a configuration; returns the finished program and the file's path."""
    path = lab.directory / "checked.yaml"
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    done = subprocess.run([BUILD / "aksegressd", "--check-config", "--config", path], capture_output=True, text=True, check=False, timeout=30)
    return done, str(path)


def test_check_config_accepts_the_lab(lab):
    """--check-config says that a good configuration is OK."""
    done, _ = check_config(lab, configuration(lab))
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["configuration OK"]), done.stdout + done.stderr


def test_check_config_reports_every_error_with_its_place(lab):
    """Six errors in one file, of keys, values, rules and features: six lines with file, line and column, exit 1."""
    config = configuration(lab)
    config["nonsense"] = 1
    config["clusters"][0]["mode"] = "enforec"
    config["clusters"][0]["sources"].append("10.0.0.1/8")
    config["clusters"][0]["allow"].append("https *foo.com:443")
    config["timeouts"]["idle"] = "soon"
    config["clusters"][0]["features"].append("monitro")
    done, path = check_config(lab, config)
    assert done.returncode == 1
    places = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(f"{path}:")]
    assert len(places) >= 6, done.stdout + done.stderr
    for word in ("nonsense", "enforec", "10.0.0.1/8", "*foo.com", "soon", "monitro"):
        assert any(word in line for line in places), places
    for line in places:
        assert [part.isdigit() for part in line[len(path) + 1:].split(":")[:2]] == [True, True], line


def test_a_broken_configuration_starts_nothing(lab):
    """With an error in the file the daemon says where and ends with 1."""
    config = configuration(lab)
    config["clusters"][0]["features"] = ["no-such-feature"]
    daemon = Daemon(lab, config).start(wait=False)
    assert daemon.process.popen.wait(20) == 1
    assert f"{daemon.path}:" in daemon.log() and "no-such-feature" in daemon.log()
    daemon.stop()


@pytest.mark.parametrize("breaking", (
    lambda config: config.update(nonsense=1),
    lambda config: config["clusters"][0]["allow"].append("https *foo.com:443"),
    lambda config: config["clusters"][0].update(features=["no-such-feature"]),
), ids=("unknown key", "bad rule", "unknown feature"))
def test_a_broken_reload_keeps_the_old_policy(daemon, client, breaking):
    """The log says file, line and column and that nothing changed; what was allowed and refused stays so."""
    breaking(daemon.config)
    daemon.reload()
    log = daemon.wait_log("keeping the running configuration")
    assert f"{daemon.path}:" in log
    assert client.curl("https://first.allowed.example/").status == 200
    assert client.curl("http://example.com/").status == 403


def test_a_reload_changes_what_is_allowed(daemon, client):
    """A name that is added is reached, one that is removed is refused, without a restart."""
    assert client.curl("http://example.com/").status == 403
    daemon.config["clusters"][0]["allow"] = ["http example.com:80"]
    daemon.reload()
    assert wait_for(lambda: client.curl("http://example.com/").status == 200, "change")
    assert client.curl("http://first.allowed.example/").status == 403


@pytest.mark.parametrize("on_change", ("close", "log", "keep"))
def test_live_connections_follow_a_stricter_policy(start_daemon, client, lab, on_change):
    """on_policy_change says whether connections that are no longer allowed end, are logged, or just go on."""
    daemon = start_daemon(lambda config: config.update(on_policy_change=on_change))
    with Origin(lab, speak_first(b"first words")), client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        read_until(connection, b"first words")
        daemon.config["clusters"][0]["allow"] = []
        daemon.reload()
        if on_change == "close":
            read_all(connection)
            daemon.expect_one_record(fqdn=ODD_NAME, reason="policy-changed")
        else:
            wait_for(lambda: client.curl("http://first.allowed.example/").status == 403, "change")
            connection.sendall(b"\x17\x03\x03\x00\x04more")
            assert read_until(connection, b"more")
            assert ("no longer allowed" in daemon.log()) == (on_change == "log")
    if on_change != "close":
        daemon.expect_one_record(fqdn=ODD_NAME, reason="completed")


def test_sigterm_drains(daemon, client, lab):
    """After SIGTERM no new connection is taken, an open one works on, and the daemon ends with the last."""
    daemon.config["drain"] = "30s"
    daemon.reload()
    with Origin(lab, speak_first(b"x")), client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        assert connection.recv(1) == b"x"
        daemon.send(signal.SIGTERM)
        wait_for(lambda: daemon.notified("STOPPING=1"), "STOPPING=1")
        wait_for(lambda: not lab.spoke.listens("198.18.1.1", 3128), "end of accepting")
        connection.sendall(b"\x17\x03\x03\x00\x04more")
        assert read_until(connection, b"more")
        assert daemon.process.running()
    daemon.expect_one_record(fqdn=ODD_NAME, reason="completed")
    daemon.finish(timeout=10)


def test_killed_it_fails_closed(start_daemon, client, lab):
    """After kill -9 nothing gets through, neither new connections nor what was open; a new daemon serves again."""
    daemon = start_daemon()
    with Origin(lab, keep_open) as origin, client.connect(ODD_NAME) as connection:
        connection.sendall(hello(ODD_NAME))
        origin.wait(lambda it: it.peers)
        daemon.send(signal.SIGKILL)
        daemon.process.popen.wait()
        daemon.stop()
        daemon.finished = True
        before = lab.counted("connections")
        for port in (443, 80, 22):
            for family in (4, 6):
                with pytest.raises(OSError):
                    client.connect("mcr.microsoft.com", port, family=family, timeout=1)
        assert lab.counted("connections") == before
        assert lab.counted("leaked") == 0
    start_daemon()
    assert client.curl("https://mcr.microsoft.com/").status == 200


def test_a_thousand_reloads_lose_no_connection(daemon, client, lab):
    """Through RELOADS reloads (1,000) open tunnels carry on, and every new connection is served."""
    failures = []
    served = [0, 0, 0]
    over = threading.Event()

    def load(index):
        while not over.is_set():
            try:
                with client.connect("first.allowed.example", 80) as connection:
                    for _ in range(5):
                        connection.sendall(b"GET /load HTTP/1.1\r\nHost: first.allowed.example\r\n\r\n")
                        status, _, body = http_response(connection)
                        if status != 200 or b"uri=/load" not in body:
                            failures.append((status, body))
                        served[index] += 1
            except (OSError, EOFError) as error:
                failures.append(error)

    with Origin(lab, speak_first(b"x")), client.connect(ODD_NAME) as tunnel:
        tunnel.sendall(hello(ODD_NAME))
        read_until(tunnel, b"x")
        threads = [threading.Thread(target=load, args=(index,), daemon=True) for index in range(len(served))]
        for thread in threads:
            thread.start()
        try:
            for number in range(RELOADS):
                daemon.config["timeouts"]["idle"] = f"{20 + number % 2}m"
                daemon.reload()
                tunnel.sendall(b"\x17\x03\x03\x00\x06" + b"%06d" % number)
                read_until(tunnel, b"%06d" % number)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)
    assert failures == []
    assert min(served) > 0
    assert daemon.log().count("reloaded:") == RELOADS
    print(f"{RELOADS} reloads, {sum(served)} requests")


def test_only_the_proxy_needs_no_privilege(start_daemon, lab, client):
    """With only listen.proxy it runs as nobody and touches no kernel rules."""
    records = lab.directory / "unprivileged"
    records.mkdir()
    os.chmod(records, 0o777)
    os.chmod(lab.directory, 0o755)
    lab.nva.run("nft", "delete", "table", "inet", "aksegressd")

    def change(config):
        del config["listen"]["transparent"]
        config["allowlist_dirs"] = [str(allowlists)]
        config["logging"][0]["path"] = str(records / "decisions.json")

    # Copies that nobody may read, wherever this tree is: a checkout in /root is root's alone.
    allowlists = pathlib.Path(shutil.copytree(ROOT / "allowlists", lab.directory / "allowlists-for-nobody"))
    for path in (allowlists, *allowlists.iterdir()):
        path.chmod(0o755)
    program = pathlib.Path(lab.directory) / "aksegressd-for-nobody"
    program.write_bytes((BUILD / "aksegressd").read_bytes())
    program.chmod(0o755)
    daemon = start_daemon(change, prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"),
                          program=program)
    assert client.curl("-x", "http://198.18.1.1:3128", "https://first.allowed.example/").status == 200
    assert client.curl("-x", "http://198.18.1.1:3128", "http://example.com/").status == 403
    assert "aksegressd" not in lab.nva.run("nft", "list", "tables").stdout
    daemon.expect_one_record(fqdn="first.allowed.example", action="allow")


def test_the_watchdog_is_fed(start_daemon, lab):
    """With WATCHDOG_USEC set it tells the service manager in time that it is alive."""
    daemon = start_daemon(environment={"WATCHDOG_USEC": "2000000"})
    for _ in range(2):
        wait_for(lambda: daemon.notified("WATCHDOG=1"), "WATCHDOG=1", timeout=5)


def test_print_nft_shows_the_table(lab):
    """--print-nft prints the ruleset that would be applied, without applying anything."""
    path = lab.directory / "printed.yaml"
    path.write_text(json.dumps(configuration(lab)))
    done = lab.stranger.run(BUILD / "aksegressd", "--print-nft", "--config", path)
    assert done.returncode == 0, done.stderr
    assert "table inet aksegressd" in done.stdout
    assert lab.stranger.run("nft", "list", "tables").stdout == ""
    assert lab.stranger.run("nft", "--check", "-f", "-", input=done.stdout).returncode == 0


def test_another_table_stays_as_it_is(start_daemon, lab):
    """Rules of somebody else survive start, reload and stop."""
    lab.nva.nft("table inet somebody_else {\n chain here {\n type filter hook input priority 10\n }\n}\n")
    before = lab.nva.run("nft", "list", "table", "inet", "somebody_else").stdout
    try:
        daemon = start_daemon()
        daemon.reload()
        daemon.check_and_stop()
        assert lab.nva.run("nft", "list", "table", "inet", "somebody_else").stdout == before
    finally:
        lab.nva.nft("delete table inet somebody_else\n")


def test_a_second_daemon_on_the_same_port_does_not_start(daemon, lab):
    """It says that the port is in use, instead of taking a share of the connections."""
    path = lab.directory / "second.yaml"
    config = configuration(lab)
    config["logging"][0]["path"] = str(lab.directory / "second.json")
    path.write_text(json.dumps(config))
    done = lab.nva.run(BUILD / "aksegressd", "--config", path)
    assert done.returncode == 1
    assert "listen.transparent: cannot listen on 0.0.0.0:15001: Address already in use" in done.stderr
