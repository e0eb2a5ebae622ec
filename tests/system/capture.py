"""Captures of what leaves: tcpdump at a place, with a filter that only what must not be there passes."""

import re
import signal

from lab import CLIENTS, wait_for

CLIENT_PORTS = (20000, 29999)  # of the spoke while a capture looks for its connections; the NVA's own are above
SPOKE_SOURCES = " or ".join(f"src net 198.18.{number}.0/24 or src net 2001:db8:{number}::/64" for number in CLIENTS.values())
# A steered connection that the kernel forwards keeps its source port through source NAT; the daemon's own has another.
PROXIED = "tcp and src portrange {}-{} and (dst port 443 or dst port 80)".format(*CLIENT_PORTS)
LEAKS = f"({SPOKE_SOURCES}) or ({PROXIED})"


class Capture:
    """tcpdump on one interface of a namespace, from entering to leaving; packets() is what passed its filter."""

    def __init__(self, lab, namespace, interface, expression):
        self.lab = lab
        self.path = lab.directory / f"capture-{namespace.role}.pcap"
        self.process = namespace.start(f"capture-{namespace.role}", "tcpdump", "-i", interface, "-n", "-p", "-U", "-Z", "root",
                                       "--immediate-mode", "-w", self.path, expression)
        wait_for(lambda: "listening on" in self.process.output(), "tcpdump")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process in self.lab.processes:
            self.process.stop(signal.SIGINT)
            self.lab.processes.remove(self.process)

    def has_read_all(self):
        """Asks how many packets tcpdump has read, and the kernel given; what is unread when it ends would be missed."""
        self.process.popen.send_signal(signal.SIGUSR1)
        counts = re.findall(r"(\d+) packets? captured, (\d+) packets? received by filter", self.process.output())
        return bool(counts) and int(counts[-1][0]) >= int(counts[-1][1])

    def packets(self):
        """Ends the capture; what it has seen, one line a packet."""
        wait_for(self.has_read_all, "tcpdump to read what it has been given")
        self.__exit__()
        output = self.process.output()
        assert re.findall(r"(\d+) packets? dropped by kernel", output)[-1] == "0", output
        done = self.lab.nva.run("tcpdump", "-n", "-r", self.path, check=True)
        return done.stdout.splitlines()
