"""systemd-resolved as nodes have it, in a namespace of the lab: its stub there, nothing of it on this machine."""

import pathlib
import pwd
import subprocess

STUB = "127.0.0.53"
ACCOUNT = "systemd-resolve"  # what it changes to; only its package makes it
FREE_NUMBER = 64999
# deps.sh unpacks the program where the package is not installed: it would turn the machine's own DNS over to resolved.
INSTALLED = pathlib.Path("/usr/lib/systemd/systemd-resolved")
UNPACKED = pathlib.Path("/var/cache/aksegressd-tests")
# ip-netns(8) gives its programs mounts of their own. There is no D-Bus in an empty /run.
SCRIPT = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
for name in passwd group systemd; do
        mount --bind "$1/$name" "/etc/$name"
done
chown "$2:$2" /run/systemd/resolve
exec "$3"
"""


def program():
    """The program, of the same version as its library on this machine; None: there is none."""
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "systemd"], capture_output=True, text=True, check=False).stdout
    unpacked = UNPACKED / f"systemd-resolved-{version}"
    return next((path for path in (INSTALLED, unpacked) if path.exists()), None)


def write_accounts(directory):
    """This machine's accounts, and one for resolved if there is none."""
    passwd, group = pathlib.Path("/etc/passwd").read_text(), pathlib.Path("/etc/group").read_text()
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        passwd += f"{ACCOUNT}:x:{FREE_NUMBER}:{FREE_NUMBER}::/:/usr/sbin/nologin\n"
        group += f"{ACCOUNT}:x:{FREE_NUMBER}:\n"
    (directory / "passwd").write_text(passwd)
    (directory / "group").write_text(group)


class Resolved:
    """A running systemd-resolved that asks one server; more settings of resolved.conf(5) by name."""

    def __init__(self, lab, namespace, server, **settings):
        self.lab = lab
        directory = lab.directory / "resolved"
        (directory / "systemd").mkdir(parents=True, exist_ok=True)
        write_accounts(directory)
        # The hosts file has the lab's names.
        lines = {"DNS": server, "FallbackDNS": "", "Domains": "~.", "DNSSEC": "no", "DNSOverTLS": "no", "LLMNR": "no", "MulticastDNS": "no",
                 "DNSStubListener": "yes", "ReadEtcHosts": "no", **settings}
        (directory / "systemd" / "resolved.conf").write_text("[Resolve]\n" + "".join(f"{name}={value}\n" for name, value in lines.items()))
        self.process = namespace.start("systemd-resolved", "sh", "-c", SCRIPT, "sh", directory, ACCOUNT, program(),
                                       ready=lambda: namespace.listens(STUB, 53))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()
        self.lab.processes.remove(self.process)
