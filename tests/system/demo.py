"""`make demo`: shows the daemon between a spoke and an internet of real servers. Ends with 0 only if all went as shown.

KEEP=1 leaves the network standing and says how to look around and how to remove it.
"""

import json
import os
import re
import sys
import textwrap

import daemon as daemon_module
import lab as lab_module
import network_origins
from clients import Client
from origins import IMAGE

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
PROXY = "http://198.18.1.1:3128"
DNS = "198.18.1.1"


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def say(text=""):
    print(text, flush=True)


def heading(text):
    say()
    say(paint(text, "1"))


class Demo:
    """Runs the steps and remembers what came of each."""

    def __init__(self, lab, daemon):
        self.lab = lab
        self.daemon = daemon
        self.client = Client(lab, lab.spoke)
        self.rows = []
        self.seen = set()  # numbers of the records shown so far

    def note(self, what, wanted, happened, reason="", origin_saw="", detail=""):
        """One line now, one row of the table at the end."""
        good = wanted == happened
        mark = paint("ok", "32") if good else paint("WRONG", "31;1")
        say(f"  {mark:5} {what}")
        say(f"        {paint(detail, '2') if detail else happened}")
        self.rows.append((good, what, happened, reason, origin_saw))

    def new_records(self, name, wanted=1):
        """The records about a name that came since the last step."""
        def arrived():
            records = [record for record in self.daemon.matching(fqdn=name) if record["seq"] not in self.seen]
            return records if len(records) >= wanted else None
        records = lab_module.wait_for(arrived, f"record about {name}; {self.daemon.log()}")
        self.seen.update(record["seq"] for record in records)
        return records

    def pull_image(self):
        target = self.lab.directory / "pulled"
        done = self.lab.spoke.run("skopeo", "copy", "--insecure-policy", f"docker://{IMAGE}", f"dir:{target}", timeout=30)
        ok = done.returncode == 0 and (target / "manifest.json").exists()
        if not ok:
            self.note(f"skopeo pulls {IMAGE}", "allowed", "failed", detail=done.stderr.strip()[-300:])
            return
        saw = sorted({entry["client"] for entry in self.lab.origins.access_log() if entry["sni"].endswith("mcr.microsoft.com")})
        self.new_records("mcr.microsoft.com")
        self.new_records("westeurope.data.mcr.microsoft.com")
        self.note(f"skopeo pulls {IMAGE}", "allowed", "allowed", "completed", short(saw),
                  f"manifest from mcr.microsoft.com, blobs from westeurope.data.mcr.microsoft.com; the origins saw {short(saw)}")

    def allowed(self, url, *arguments, how="transparent", family="-4"):
        name = url.split("/")[2].partition(":")[0]
        answer = self.client.curl(family, *arguments, url)
        if answer.status != 200:
            self.note(f"{url}  ({how})", "allowed", "failed", detail=repr(answer))
            return
        record = self.new_records(name)[0]
        agrees = record["action"] == "allow" and record["snat_ip"] == answer.peer and str(record["snat_port"]) == answer.port
        self.note(f"{url}  ({how})", "allowed", "allowed" if agrees else "record differs", record["reason"], answer.peer,
                  f"HTTP/{answer.http_version}, rule {record['rule']}; the origin saw {answer.peer} port {answer.port}")

    def refused(self, url, reason, *arguments, how="transparent", hint=None):
        name = url.split("/")[2].partition(":")[0]
        answer = self.client.curl("-4", *arguments, url)
        record = self.new_records(name)[0]
        if answer.status == 200 or answer.connect_status == 200 and how == "explicit":
            happened = "LET THROUGH"
        elif record["action"] != "deny" or record["reason"] != reason or (hint and hint not in record.get("hint", "")):
            happened = f"record says {record}"
        else:
            happened = "refused"
        told = answer.body.strip().splitlines()
        read = f"HTTP {answer.status or answer.connect_status}: {told[0]}" if told else answer.error.strip().splitlines()[-1]
        self.note(f"{url}  ({how})", "refused", happened, record["reason"], "-",
                  f"the client read: {read}" + (f"\n        hint: {record['hint']}" if record.get("hint") else ""))

    def network_time(self):
        done = network_origins.query_ntp(self.lab.spoke, self.lab.directory, 4)
        offset = re.search(r"System clock wrong by (\S+) seconds", done.stdout + done.stderr)
        self.lab.nva.run("conntrack", "-D", "-p", "udp", "--dport", "123")  # or its record comes when the kernel forgets it
        record = self.new_records("ntp.ubuntu.com")[0]
        agrees = offset is not None and (record["event"], record["action"], record["destination_port"]) == ("flow", "allow", 123)
        self.note("chronyd asks ntp.ubuntu.com for the time  (UDP, forwarded)", "allowed", "allowed" if agrees else f"record says {record}",
                  record["reason"], record["snat_ip"],
                  f"rule {record['rule']}; {record['bytes_out']} bytes out, {record['bytes_in']} in, from {record['snat_ip']}")

    def lookup(self, name, wanted):
        done = self.lab.spoke.run("dig", "+time=3", "+tries=1", f"@{DNS}", name)
        status = (re.search(r"status: (\w+)", done.stdout) or ["", "no answer"])[1]
        told = (re.search(r"; EDE: (.*)", done.stdout) or ["", ""])[1]
        found = re.findall(rf"^{re.escape(name)}\.\s+\d+\s+IN\s+A\s+(\S+)", done.stdout, re.MULTILINE)
        record = next(record for record in self.new_records(name) if record["event"] == "query")
        happened = {"NOERROR": "answered", "REFUSED": "refused"}.get(status, status)
        self.note(f"dig @{DNS} {name}", wanted, happened, record["reason"], "-", f"{status} {' '.join(found)}{told}")

    def quic(self, name):
        done = self.lab.spoke.run("gtlsclient", "--handshake-timeout=1s", name, 443, f"https://{name}/")
        record = self.new_records(name)[0]
        refused = " pkt rx " not in done.stdout + done.stderr and (record["action"], record["protocol"]) == ("deny", "quic")
        happened = "refused" if refused else f"record says {record}"
        self.note(f"a QUIC client asks for {name}  (UDP 443)", "refused", happened, record["reason"], "-",
                  f"ICMP tells it at once; the record has the name\n        hint: {record.get('hint', '')}")

    def no_dns(self, before):
        queries = self.lab.counted("queries") - before
        self.note("DNS queries caused by all the refused names", "0", str(queries), detail=f"{queries}, counted in the internet")


def short(addresses):
    """198.18.2.10, …11, …12"""
    first, *rest = addresses
    return ", ".join([first, *(f"…{address[-2:]}" for address in rest)])


def run_steps(demo):
    heading("Allowed: what Microsoft documents for this cluster (westeurope; core and ubuntu-updates)")
    demo.pull_image()
    demo.allowed("https://prod-dns-1a2b3c.hcp.westeurope.azmk8s.io/healthz")
    demo.allowed("https://login.microsoftonline.com/common/oauth2", "--http1.1")
    demo.allowed("https://packages.microsoft.com/ubuntu/")
    demo.allowed("https://packages.aks.azure.com/acs-mirror/healthz", how="transparent, IPv6", family="-6")
    demo.allowed("http://security.ubuntu.com/ubuntu/dists/", how="transparent, cleartext HTTP")

    heading("Refused, before any DNS query and without a packet to the origin")
    before = demo.lab.counted("queries")
    demo.refused("https://example.com/", "no-rule")
    demo.refused("https://mcr.microsoft.com.evil.example/", "no-rule")
    demo.refused("https://mcr-microsoft.com/", "no-rule")
    demo.refused("https://prod-dns-1a2b3c.hcp.eastus.azmk8s.io/", "no-rule")
    demo.refused("https://global.handler.control.monitor.azure.com/", "no-rule", hint="monitor")
    demo.refused("http://example.com/", "no-rule", how="transparent, cleartext HTTP")
    demo.no_dns(before)

    heading("The same through the explicit proxy (HTTPS_PROXY, HTTP_PROXY)")
    demo.allowed("https://mcr.microsoft.com/v3/", "-x", PROXY, how="explicit")
    demo.allowed("http://security.ubuntu.com/ubuntu/", "-x", PROXY, how="explicit")
    demo.refused("https://example.com/", "no-rule", "-x", PROXY, how="explicit")
    demo.refused("http://example.com/", "no-rule", "-x", PROXY, how="explicit")


def run_network_steps(demo):
    heading("What is not TCP to 80 and 443: forwarded by the kernel where a network rule allows it, and refused with a record where not")
    demo.network_time()
    demo.quic("mcr.microsoft.com")

    heading("DNS for the clusters: names that some rule allows")
    demo.lookup("mcr.microsoft.com", "answered")
    before = demo.lab.counted("queries")
    demo.lookup("exfiltrate.example.com", "refused")
    demo.no_dns(before)


def show_denials(demo):
    heading(f"Denial records ({demo.daemon.records_path.name})")
    for record in demo.daemon.records():
        if record["action"] == "deny":
            target = f"{record.get('fqdn', record.get('original_ip', '?'))}:{record.get('destination_port', 'DNS')}"
            say(f"  {record['time'][11:23]} {record['listener']:11} {record['client_ip']:>11} -> {target:46} {record['reason']:8}"
                f" {record.get('hint', '')}".rstrip())
    denial = next(record for record in demo.daemon.records() if record.get("hint"))
    say("  one of them whole:")
    for line in textwrap.wrap(json.dumps(denial), 130, break_long_words=False, break_on_hyphens=False):
        say(f"    {paint(line, '2')}")


def show_summary(demo):
    heading("Summary")
    width = max(len(row[1]) for row in demo.rows)
    say(f"  {'':5} {'what':{width}}  {'result':8}  {'reason':9}  origin saw")
    for good, what, happened, reason, origin_saw in demo.rows:
        mark = paint("ok   ", "32") if good else paint("WRONG", "31;1")
        say(f"  {mark} {what:{width}}  {happened[:40]:8}  {reason:9}  {origin_saw}")
    wrong = sum(not row[0] for row in demo.rows)
    say()
    say(paint(f"  {len(demo.rows) - wrong} of {len(demo.rows)} as they should be", "31;1" if wrong else "32"))
    return wrong == 0


def show_how_to_look_around(lab, daemon):
    enter = f"ip netns exec {lab.spoke.name}"
    heading("The network is still there (KEEP=1)")
    say(f"""  a client      {enter} env SSL_CERT_FILE={lab.directory}/ca.pem CURL_CA_BUNDLE={lab.directory}/ca.pem bash
                then for example: curl -v https://mcr.microsoft.com/v2/    curl -v https://example.com/
  ask           {daemon_module.BUILD}/aksegressctl explain --config {daemon.path} --source 198.18.1.10 https example.com
  the NVA       ip netns exec {lab.nva.name} nft list table inet aksegressd
  records       tail -f {daemon.records_path}
  the daemon    pid {daemon.process.pid}, log {daemon.log_path}, configuration {daemon.path}
  the origins   tail -f {lab.directory}/access.log
  remove it     /usr/bin/python3 tests/system/lab.py clean {os.getpid()}""")


def demo_configuration(lab):
    config = daemon_module.configuration(lab)
    config["snat_pools"][0]["selection"] = "round_robin"  # so that more than one pool address shows
    for key in ("allow", "deny"):
        del config["clusters"][0][key]
    config["listen"]["dns"] = {"address": DNS, "port": 53}
    return config


def main():
    lab_module.end_on_signals()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    lab = lab_module.Lab(keep=keep)
    try:
        with lab:
            say(f"""
  spoke (clients)                    hub: the NVA                                internet
  198.18.1.10, 2001:db8:1::10  --->  aksegressd                            --->  real DNS (nsd), TLS and HTTP (nginx),
  skopeo, curl                       pool 198.18.2.10-15, 2001:db8:2::10-15      a registry as mcr.microsoft.com""")
            network_origins.NtpServer(lab)
            lab.nva.sysctl(net__netfilter__nf_conntrack_acct=1, net__netfilter__nf_conntrack_timestamp=1,
                           net__netfilter__nf_conntrack_events=1)
            daemon = daemon_module.Daemon(lab, demo_configuration(lab)).start()
            demo = Demo(lab, daemon)
            run_steps(demo)
            run_network_steps(demo)
            show_denials(demo)
            good = show_summary(demo)
            if keep:
                show_how_to_look_around(lab, daemon)
            else:
                daemon.check_and_stop()
            return 0 if good else 1
    except KeyboardInterrupt:
        lab.keep = False
        lab.close()
        say("interrupted; everything is removed")
        return 130


if __name__ == "__main__":
    sys.exit(main())
