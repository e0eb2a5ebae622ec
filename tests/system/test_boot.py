"""aksegressd under a real systemd: the shipped unit, accounts, kernel settings, journal, watchdog, log rotation."""

import contextlib
import json
import re
import time

import pytest

from boot import CONNECTION_RECORD, JOURNAL_BURST, RECORDS, UNIT, shipped_sysctls
from clients import Client, alert, hello, http_response, read_all, refused_alert
from lab import POOL_V4, wait_for
from network_origins import ECHO, UdpClient, UdpEcho

ALLOWED = "first.allowed.example"
REFUSED = "example.com"
STORM = 6 * JOURNAL_BURST + 1000
CAPABILITIES = {10, 12}  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN (linux/capability.h)


def fetch(client, name, connection=None):
    """GET / over TLS, through the transparent listener or a tunnel; returns (client port, status, body)."""
    raw = connection or client.connect(name)
    with client.tls_context().wrap_socket(raw, server_hostname=name) as tls:
        port = tls.getsockname()[1]
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        status, _, body = http_response(tls)
        assert read_all(tls) == (b"", False)
    return port, status, body.decode()


def tunnel(client, name):
    """CONNECT through the explicit proxy; returns the connection and the status."""
    connection = client.proxy()
    connection.sendall(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
    status, _, _ = http_response(connection)
    return connection, status


def serves(client):
    """One name passes and one is refused, on both listeners."""
    assert fetch(client, ALLOWED)[1] == 200
    assert refused_alert(client.connect(REFUSED), hello(REFUSED)) == "unrecognized_name"
    connection, status = tunnel(client, ALLOWED)
    assert status == 200 and fetch(client, ALLOWED, connection)[1] == 200
    connection, status = tunnel(client, REFUSED)
    connection.close()
    return status == 403


def dial(client):
    """Tries to connect to a server that is allowed, without a word; whatever comes of it."""
    with contextlib.suppress(OSError):
        client.connect(ALLOWED, timeout=0.2).close()


def table(lab):
    """The rules in force; empty without the table."""
    return lab.nva.run("nft", "list", "table", "inet", "aksegressd").stdout


def broken(machine):
    """The usual configuration as text, with an unknown key in line 2, column 4."""
    text = json.dumps(machine.config, indent=2)
    return text.replace("{\n", '{\n  "nonsense": 1,\n', 1)


def test_the_appliance_is_up_after_a_boot(machine, client, lab):
    """Nothing failed in the boot, the enabled unit has told systemd that it is ready, and both listeners do their work."""
    failed = machine.systemctl("--failed", "--no-legend").stdout
    assert (machine.state(), failed) == ("running", ""), machine.log_tail()
    assert machine.show("ActiveState", "SubState", "Type", "NRestarts") == ["active", "running", "notify", "0"]
    assert machine.show("StatusText") == "serving"
    assert serves(client)
    assert "tproxy" in table(lab)


def test_it_runs_as_its_own_user_with_two_capabilities(machine):
    """User and group are its own; of capabilities it has the two that the unit names, and can get no other."""
    pid = machine.show("MainPID")
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    user, group = machine.run("id", "-u", "aksegressd").stdout.strip(), machine.run("id", "-g", "aksegressd").stdout.strip()
    assert set(status["Uid"].split()) == {user} != {"0"}
    assert set(status["Gid"].split()) == {group} != {"0"}
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert {bit for bit in range(64) if int(status[name], 16) >> bit & 1} == CAPABILITIES, name
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert machine.run("stat", "-c", "%U:%G %a", "/var/log/aksegressd").stdout.strip() == "aksegressd:aksegressd 750"
    assert machine.run("getent", "group", "aksegress").stdout.startswith("aksegress:")


def test_the_shipped_kernel_settings_are_in_force(machine):
    """systemd-sysctl has applied the installed file: every setting that a network namespace has of its own."""
    wanted = shipped_sysctls()
    keys = [key for key in wanted if machine.run("test", "-w", f"/proc/sys/{key.replace('.', '/')}", check=False).returncode == 0]
    assert {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.ip_local_port_range"} <= set(keys)
    found = {key: " ".join(machine.run("cat", f"/proc/sys/{key.replace('.', '/')}").stdout.split()) for key in keys}
    for key in keys:
        if key != "net.ipv4.ip_local_reserved_ports":
            assert found[key] == wanted[key], key
    assert set(found["net.ipv4.ip_local_reserved_ports"].split(",")) == set(wanted["net.ipv4.ip_local_reserved_ports"].split(","))


def test_the_exposure_is_small(machine):
    """systemd-analyze security, which counts what a compromised service could reach: 10 is all, 0 nothing."""
    output = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", output)[1])
    print(f"exposure level {level} of 10")
    assert level < 2.5, output


def test_records_arrive_in_the_journal_as_the_client_saw_it(machine, client):
    """Read back by MESSAGE_ID and fields: who, which name, from which pool address, how it ended; the same as in the file."""
    port, _, body = fetch(client, ALLOWED)
    entry = machine.wait_entry(MESSAGE_ID=CONNECTION_RECORD, AKSEGRESS_CLIENT_PORT=str(port), AKSEGRESS_FQDN=ALLOWED)
    peer = re.search(r"peer=(\S+) port=(\d+)", body)
    expected = {"EVENT": "connection", "ACTION": "allow", "REASON": "completed", "CLUSTER": "prod-weu", "PROTOCOL": "https",
                "LISTENER": "transparent", "CLIENT_IP": "198.18.1.10", "DESTINATION_PORT": "443", "SNAT_IP": peer[1], "SNAT_PORT": peer[2],
                "ORIGINAL_IP": client.lab.zone.v4(ALLOWED), "FEATURE": "allow"}
    assert {name: entry.get(f"AKSEGRESS_{name}") for name in expected} == expected
    assert peer[1] in POOL_V4 and int(entry["AKSEGRESS_BYTES_IN"]) > len(body)
    assert (entry["_SYSTEMD_UNIT"], entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == (UNIT, "aksegressd", "6")
    assert ALLOWED in entry["MESSAGE"] and "allowed" in entry["MESSAGE"]

    with client.connect(REFUSED) as connection:
        port = connection.getsockname()[1]
        connection.sendall(hello(REFUSED))
        assert alert(read_all(connection)[0]) == "unrecognized_name"
    entry = machine.wait_entry(MESSAGE_ID=CONNECTION_RECORD, AKSEGRESS_CLIENT_PORT=str(port), AKSEGRESS_FQDN=REFUSED)
    assert (entry["AKSEGRESS_ACTION"], entry["AKSEGRESS_REASON"], entry["PRIORITY"]) == ("deny", "no-rule", "5")
    assert "AKSEGRESS_SNAT_IP" not in entry and "AKSEGRESS_DESTINATION_IP" not in entry

    found = machine.run("journalctl", "--no-pager", "-o", "json", f"MESSAGE_ID={CONNECTION_RECORD}", f"AKSEGRESS_CLIENT_PORT={port}").stdout
    assert [json.loads(line)["AKSEGRESS_FQDN"] for line in found.splitlines()] == [REFUSED], "journalctl finds it by its fields"
    compare_with_file(machine)


def compare_with_file(machine):
    """Every record since the last start is in the journal and in the file with the same fields."""
    def files():
        return [json.loads(line) for line in machine.path(RECORDS).read_text().splitlines()]

    def journals():
        return [{name.removeprefix("AKSEGRESS_").lower(): value for name, value in entry.items() if name.startswith("AKSEGRESS_")}
                for entry in machine.journal(MESSAGE_ID=CONNECTION_RECORD)]

    def without_stamp(records):
        return sorted(json.dumps({name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in record.items()
                                  if name not in ("seq", "instance")}, sort_keys=True) for record in records)
    wait_for(lambda: len(files()) == len(journals()) > 0, "equal numbers of records in journal and file")
    assert without_stamp(files()) == without_stamp(journals())


def test_what_the_kernel_and_dns_tell_arrives_in_the_journal(machine, lab):
    """Under the unit's sandbox: a forwarded flow with its bytes, a refused packet, and an answer from port 53."""
    machine.config["clusters"][0]["allow"].append(f"udp [{ECHO}]:5000")
    machine.config["listen"]["dns"] = {"address": "198.18.1.1", "port": 53}
    machine.write_config()
    machine.systemctl("restart", UNIT)
    with UdpEcho(lab), UdpClient(lab.spoke, ECHO) as flow, UdpClient(lab.spoke, ECHO, 5001) as refused:
        flow.ask()
        refused.socket.send(b"refused")
        with pytest.raises(OSError):
            refused.socket.recv(100)
        assert "NOERROR" in lab.spoke.run("dig", "+time=3", "@198.18.1.1", ALLOWED).stdout
        port = flow.socket.getsockname()[1]
    lab.nva.run("conntrack", "-D", "-p", "udp", "--sport", port, check=True)

    def entry(**fields):
        return wait_for(lambda: machine.journal(**{f"AKSEGRESS_{name}": value for name, value in fields.items()}), f"record with {fields}")[0]

    ended = entry(EVENT="flow", CLIENT_PORT=str(port))
    assert (ended["AKSEGRESS_ACTION"], ended["AKSEGRESS_BYTES_OUT"]) == ("allow", ended["AKSEGRESS_BYTES_IN"])
    assert ended["AKSEGRESS_SNAT_IP"] in POOL_V4 and int(ended["AKSEGRESS_BYTES_OUT"]) > 28
    assert entry(EVENT="packet", DESTINATION_PORT="5001")["AKSEGRESS_REASON"] == "no-network-rule"
    assert entry(EVENT="query", FQDN=ALLOWED)["AKSEGRESS_RESPONSE_CODE"] == "NOERROR"


def test_a_reload_takes_a_changed_configuration(machine, client):
    """systemctl reload: a name more is allowed, by the same process, and an open connection does not notice."""
    pid, mark = machine.show("MainPID"), machine.mark()
    with client.tls(ALLOWED) as tls:
        machine.config["clusters"][0]["allow"].append(f"https {REFUSED}:443")
        machine.write_config()
        machine.systemctl("reload", UNIT)
        machine.wait_message("reloaded: generation 2", mark)
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
        assert http_response(tls)[0] == 200
    assert wait_for(lambda: fetch(client, REFUSED)[1] == 200, "change")
    assert machine.show("MainPID", "ActiveState") == [pid, "active"]


def test_a_broken_file_fails_the_reload_and_changes_nothing(machine, client):
    """systemctl reload says that it failed, the journal where the error is; the old configuration stays in force."""
    pid, mark = machine.show("MainPID"), machine.mark()
    path = machine.write_config(broken(machine))
    assert machine.systemctl("reload", UNIT, check=False).returncode != 0
    assert "nonsense" in machine.wait_message(f"{path}:2:4: ", mark)
    assert machine.show("MainPID", "ActiveState") == [pid, "active"]
    assert serves(client)


def test_sighup_with_a_broken_file_changes_nothing(machine, client):
    """The same for whoever sends the signal without systemctl reload."""
    pid, mark = machine.show("MainPID"), machine.mark()
    path = machine.write_config(broken(machine))
    machine.systemctl("kill", "--kill-who=main", "--signal=HUP", UNIT)
    machine.wait_message("keeping the running configuration", mark)
    assert "nonsense" in machine.wait_message(f"{path}:2:4: ", mark)
    wait_for(lambda: machine.show("ActiveState", "StatusText") == ["active", "serving"], "serving")
    assert machine.show("MainPID") == pid
    assert serves(client)


def test_a_broken_file_refuses_the_start(machine, client, lab):
    """--check-config before the start: the start fails with the place of the error, and nothing passes."""
    path = machine.write_config(broken(machine))
    machine.systemctl("stop", UNIT)
    mark = machine.mark()
    assert machine.systemctl("start", UNIT, check=False).returncode != 0
    assert "nonsense" in machine.wait_message(f"{path}:2:4: ", mark)
    before = lab.counted("connections")
    dial(client)
    assert lab.counted("connections") == before


def test_the_watchdog_restarts_a_daemon_that_hangs(machine, client):
    """Stopped by SIGSTOP it answers no watchdog: systemd ends it after WatchdogSec and starts another."""
    machine.drop_in("[Service]\nWatchdogSec=2\nRestartSec=100ms\n")
    machine.systemctl("restart", UNIT)
    pid, mark = machine.show("MainPID"), machine.mark()
    started = time.monotonic()
    machine.systemctl("kill", "--kill-who=main", "--signal=STOP", UNIT)
    machine.wait_message("Watchdog timeout", mark, 10)
    assert time.monotonic() - started < 5, "at most WatchdogSec since the last answer, and some for a busy machine"
    wait_for(lambda: machine.show("NRestarts", "ActiveState") == ["1", "active"], "restart")
    assert machine.show("MainPID") != pid
    assert serves(client)


def test_a_living_daemon_answers_the_watchdog(machine):
    """Four answers arrive, over twice WatchdogSec, and nothing is restarted."""
    machine.drop_in("[Service]\nWatchdogSec=2\n")
    machine.systemctl("restart", UNIT)
    seen = {machine.show("WatchdogTimestampMonotonic")}

    def answered():
        seen.add(machine.show("WatchdogTimestampMonotonic"))
        return len(seen) > 4
    wait_for(answered, "fourth answer", 20)
    assert machine.show("NRestarts", "ActiveState") == ["0", "active"]


def test_killed_it_comes_back_and_nothing_passes_meanwhile(machine, client, lab):
    """SIGKILL: until systemd has started it again no packet of a client reaches a server; then all is as before."""
    machine.drop_in("[Service]\nRestartSec=2\n")
    machine.systemctl("restart", UNIT)
    with client.tls(ALLOWED) as before_death:
        syns = lab.counted("connections")
        machine.systemctl("kill", "--kill-who=main", "--signal=KILL", UNIT)
        machine.wait_unit("activating")
        attempts = 0
        while machine.show("SubState") == "auto-restart":
            dial(client)
            attempts += 1
        assert attempts > 1 and lab.counted("connections") == syns
    machine.wait_unit("active")
    assert machine.show("NRestarts") == "1"
    assert serves(client)


def test_a_stop_drains_and_leaves_the_table(machine, client, lab):
    """What is open goes on until it ends, which ends the stop; new connections are refused, then and after it."""
    mark = machine.mark()
    with client.tls(ALLOWED) as tls:
        machine.systemctl("stop", "--no-block", UNIT)
        machine.wait_message("draining 1 connections", mark)
        wait_for(lambda: not lab.nva.listens("198.18.1.1", 3128), "end of the proxy's listener")
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
        assert http_response(tls)[0] == 200
        assert machine.show("ActiveState") == "deactivating"
    machine.wait_unit("inactive", 5)
    assert machine.show("Result", "ExecMainStatus") == ["success", "0"]
    assert "tproxy" in table(lab)
    before = lab.counted("connections")
    dial(client)
    assert lab.counted("connections") == before


def test_logrotate_moves_the_records_away_and_the_daemon_follows(machine, client):
    """The shipped logrotate file, by logrotate: later records are in new files, earlier ones in the old, none is lost."""
    cef = RECORDS.replace(".json", ".log")
    machine.config["logging"].append({"sink": "file", "path": cef, "format": "cef", "events": ["deny", "allow"]})
    machine.write_config()
    machine.systemctl("restart", UNIT)
    assert "error" not in machine.run("logrotate", "--debug", "/etc/logrotate.d/aksegressd").stderr
    first, _, _ = fetch(client, ALLOWED)
    machine.wait_entry(MESSAGE_ID=CONNECTION_RECORD, AKSEGRESS_CLIENT_PORT=str(first))
    wait_for(lambda: ports_in(machine, RECORDS) & {first} and f" spt={first} " in machine.path(cef).read_text(), "record in the files")
    mark = machine.mark()
    machine.run("logrotate", "--force", "/etc/logrotate.d/aksegressd")
    machine.wait_message("record files reopened", mark)
    second, _, _ = fetch(client, ALLOWED)
    wait_for(lambda: ports_in(machine, RECORDS) == {second}, "record in the new file")
    assert first in ports_in(machine, f"{RECORDS}.1") and second not in ports_in(machine, f"{RECORDS}.1")
    wait_for(lambda: f" spt={second} " in machine.path(cef).read_text(), "record in the other new file")
    assert f" spt={first} " in machine.path(f"{cef}.1").read_text() and f" spt={first} " not in machine.path(cef).read_text()
    assert machine.run("stat", "-c", "%U:%G %a", RECORDS).stdout.strip() == "aksegressd:aksegressd 640"


def ports_in(machine, path):
    """The client ports of the records in a file."""
    with contextlib.suppress(FileNotFoundError):
        return {json.loads(line)["client_port"] for line in machine.path(path).read_text().splitlines()}
    return set()


def test_the_table_comes_back_when_nftables_service_flushes_all(machine, client, lab):
    """nftables.service begins and ends with `flush ruleset`: the daemon notices and puts its table back."""
    for command in ("start", "restart", "stop"):
        mark = machine.mark()
        machine.systemctl(command, "nftables.service")
        wait_for(lambda: "tproxy" in table(lab), "table")
        assert "put it back" in machine.wait_message("removed or changed the nftables table inet aksegressd", mark)
    assert serves(client)


def test_journald_takes_a_storm_of_denials(machine, client):
    """More refusals at once than journald takes from other units: each is in the journal, or lost says how many are not."""
    machine.config["logging"][0]["summarize"] = "off"
    machine.write_config()
    machine.systemctl("restart", UNIT)
    mark = machine.mark()
    request = f"GET http://{REFUSED}/ HTTP/1.1\r\nHost: {REFUSED}\r\n\r\n".encode()
    for _ in range(STORM):
        with client.proxy() as connection:
            connection.sendall(request)
            assert connection.recv(12) == b"HTTP/1.1 403"

    def accounted():
        machine.journal()
        entries = [entry for entry in machine.entries[mark:] if entry.get("MESSAGE_ID") == CONNECTION_RECORD]
        return len(entries) + sum(int(entry.get("AKSEGRESS_LOST", 0)) for entry in entries) == STORM
    wait_for(accounted, "record of each refusal", 20)
    assert not any("Suppressed" in str(entry.get("MESSAGE")) for entry in machine.entries[mark:])
