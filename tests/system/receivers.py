"""Real syslog receivers in the lab's internet: rsyslog and syslog-ng, with certificates of the lab's own."""

import json
import os
import pathlib
import signal

from lab import Process, wait_for
from origins import run

NAME = "siem.example"
ADDRESS = "203.0.113.225"
SD_ID = "aksegress@32473"
PORTS = {"tls": 6514, "tcp": 6601, "udp": 6514, "json": 6602, "cef": 6603}
OUTPUTS = ("records", "tcp", "udp", "json", "cef")
SYSLOG_NG = pathlib.Path("/var/cache/aksegressd-tests/syslog-ng")

# Of each message a line: header, the parsed structured data or JSON, and the text, which none of them can end.
LINE = '%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %procid% %msgid% %$!all-json-plain%\\t%msg%\\n'
SYSLOG_NG_LINE = ("$(format-json --scope none --key .SDATA.* --pair facility=$FACILITY --pair severity=$LEVEL_NUM --pair host=$HOST"
                  " --pair program=$PROGRAM --pair msgid=$MSGID --pair message=$MESSAGE)")


def make_certificate(lab, name, *, alternatives=None, days=2, ca=None):
    """A certificate of the lab's CA (or another one) for a name: (certificate, key)."""
    directory = lab.directory
    ca = ca or "ca"
    paths = [directory / f"{name}.{kind}" for kind in ("pem", "key", "csr", "ext")]
    certificate, key, request, extensions = paths
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key,
        "-out", request)
    extensions.write_text(f"subjectAltName={alternatives or 'DNS:' + name}\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", directory / f"{ca}.pem", "-CAkey", directory / f"{ca}.key", "-CAcreateserial",
        "-days", days, "-extfile", extensions, "-out", certificate)
    for path in (certificate, key):
        path.chmod(0o644)
    return certificate, key


def make_other_ca(lab, name):
    """An authority that nobody trusts."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        f"/CN={name}", "-keyout", lab.directory / f"{name}.key", "-out", lab.directory / f"{name}.pem")


class Receiver:
    """A syslog daemon, its configuration and what it wrote."""

    started = 0

    def __init__(self, lab, certificate=None):
        Receiver.started += 1
        self.lab = lab
        self.directory = lab.directory / f"receiver-{Receiver.started}"
        self.directory.mkdir()
        self.certificate, self.key = certificate or make_certificate(lab, NAME)
        self.process = None

    def output(self, name="records"):
        return self.directory / name

    def argv(self):
        raise NotImplementedError

    def ready(self):
        return self.lab.internet.listens(ADDRESS, PORTS["tls"])

    def start(self):
        self.process = Process(self.lab.internet.command(*self.argv()), self.directory / "log", env=self.environment())
        self.lab.processes.append(self.process)

        def listening():
            if not self.process.running():
                raise RuntimeError(f"the receiver ended:\n{self.process.output()}")
            return self.ready()
        wait_for(listening, f"the receiver: {self.process.output()}")
        return self

    def environment(self):
        return dict(os.environ)

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.stop(number)
            if self.process in self.lab.processes:
                self.lab.processes.remove(self.process)
        self.process = None

    def kill(self):
        """As a crash: a line that it had not written to its end is no record."""
        self.stop(signal.SIGKILL)
        for path in (self.output(name) for name in OUTPUTS):
            if path.exists():
                text = path.read_bytes()
                os.truncate(path, text.rfind(b"\n") + 1)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def text(self, name="records"):
        path = self.output(name)
        return path.read_text(errors="strict") if path.exists() else ""

    def whole_lines(self, name="records"):
        return [line for line in self.text(name).split("\n")[:-1] if line]


class Rsyslog(Receiver):
    """rsyslog with TLS (both sides with certificates), TCP and UDP; structured data and JSON are parsed by its own modules."""

    def __init__(self, lab, certificate=None, peer="nva.example"):
        super().__init__(lab, certificate)
        self.configuration = self.directory / "rsyslog.conf"
        self.configuration.write_text(f"""
global(workDirectory="{self.directory}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriverCAFile="{lab.directory}/ca.pem" defaultNetstreamDriverCertFile="{self.certificate}"
       defaultNetstreamDriverKeyFile="{self.key}")
main_queue(queue.size="1000000" queue.type="linkedList")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer=["{peer}"])
module(load="imptcp")
module(load="imudp")
module(load="mmpstrucdata")
module(load="mmjsonparse")
template(name="line" type="string" string="{LINE}")
ruleset(name="structured") {{
        action(type="mmpstrucdata" sd_name.lowercase="off")
        action(type="omfile" file="{self.output()}" template="line" ioBufferSize="64k" flushOnTXEnd="on")
}}
ruleset(name="plain_tcp") {{
        action(type="mmpstrucdata" sd_name.lowercase="off")
        action(type="omfile" file="{self.output('tcp')}" template="line")
}}
ruleset(name="datagrams") {{
        action(type="mmpstrucdata" sd_name.lowercase="off")
        action(type="omfile" file="{self.output('udp')}" template="line")
}}
ruleset(name="json") {{
        action(type="mmjsonparse" cookie="")
        action(type="omfile" file="{self.output('json')}" template="line")
}}
ruleset(name="cef") {{
        action(type="omfile" file="{self.output('cef')}" template="line")
}}
input(type="imtcp" port="{PORTS['tls']}" address="{ADDRESS}" ruleset="structured")
input(type="imptcp" port="{PORTS['tcp']}" address="{ADDRESS}" ruleset="plain_tcp")
input(type="imptcp" port="{PORTS['json']}" address="{ADDRESS}" ruleset="json")
input(type="imptcp" port="{PORTS['cef']}" address="{ADDRESS}" ruleset="cef")
input(type="imudp" port="{PORTS['udp']}" address="{ADDRESS}" ruleset="datagrams" rateLimit.interval="0")
""")

    def argv(self):
        return ["rsyslogd", "-n", "-f", self.configuration, "-i", self.directory / "pid"]

    def messages(self, name="records"):
        """What was received: (header fields, parsed data, text)."""
        found = []
        for line in self.whole_lines(name):
            pri, time, host, app, procid, msgid, rest = line.split(" ", 6)
            parsed, end = json.JSONDecoder().raw_decode(rest) if rest.startswith("{") else ({}, 0)
            found.append(({"pri": int(pri), "time": time, "host": host, "app": app, "procid": procid, "msgid": msgid}, parsed,
                          rest[end:].removeprefix("\t")))
        return found

    def records(self, name="records"):
        """The fields of each message's structured data."""
        return [parsed["rfc5424-sd"][SD_ID] for _, parsed, _ in self.messages(name)]


class SyslogNg(Receiver):
    """syslog-ng with TLS and certificates on both sides."""

    def __init__(self, lab, certificate=None):
        super().__init__(lab, certificate)
        self.configuration = self.directory / "syslog-ng.conf"
        self.configuration.write_text(f"""
@version: 3.38
options {{ keep-hostname(yes); log-msg-size(65536); stats-freq(0); }};
source records {{
        syslog(ip({ADDRESS}) port({PORTS['tls']}) transport("tls") max-connections(100)
               tls(ca-file("{lab.directory}/ca.pem") cert-file("{self.certificate}") key-file("{self.key}")
                   peer-verify(required-trusted)));
}};
destination lines {{
        file("{self.output()}" template("{SYSLOG_NG_LINE}\\n"));
}};
log {{ source(records); destination(lines); }};
""")

    @staticmethod
    def is_there():
        return (SYSLOG_NG / "usr/sbin/syslog-ng").exists()

    def environment(self):
        libraries = [str(path.parent) for pattern in ("usr/lib/syslog-ng/*.so.0", "usr/lib/*/*.so.*") for path in SYSLOG_NG.glob(pattern)]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(set(libraries)))}

    def argv(self):
        modules = next((SYSLOG_NG / "usr/lib/syslog-ng").glob("[0-9]*"))
        return [SYSLOG_NG / "usr/sbin/syslog-ng", "-F", "-e", "--no-caps", "--module-path", modules, "-f", self.configuration, "-R",
                self.directory / "persist", "-p", self.directory / "pid", "-c", self.directory / "control"]

    def messages(self):
        return [json.loads(line) for line in self.whole_lines()]

    def records(self):
        return [message["_SDATA"][SD_ID] if "_SDATA" in message else message["SDATA"][SD_ID] for message in self.messages()]
