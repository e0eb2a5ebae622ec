#!/usr/bin/python3
"""Records the first flight of real QUIC clients as hexadecimal files beside this script, one file a datagram.

Needs kdig (knot-dnsutils, ngtcp2 with GnuTLS) and chromium. Everything stays on loopback: a socket takes what the client sends
and answers nothing, which is what a client behind a firewall sees.

rfc9001-client.hex and rfc9369-client.hex are not captured: they are the clients' packets in appendix A.2 of those RFCs.
"""
import pathlib
import socket
import subprocess
import tempfile
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
NAME = "mcr.microsoft.com"


def first_flight(command, count):
    """The first count datagrams of the client that `command` starts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        port = server.getsockname()[1]
        client = subprocess.Popen([part.replace("PORT", str(port)) for part in command], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return [server.recv(65536) for _ in range(count)]
        finally:
            client.terminate()
            client.wait()


def save(name, flight):
    for number, datagram in enumerate(flight, 1):
        (HERE / f"{name}-{number}.hex").write_text("\n".join(textwrap.wrap(datagram.hex(), 96)) + "\n")
        print(f"{name}-{number}: {len(datagram)} bytes")


def main():
    save("kdig", first_flight(["kdig", "@127.0.0.1", "-p", "PORT", f"+tls-sni={NAME}", "+quic", "example.com"], 1))
    with tempfile.TemporaryDirectory() as profile:
        chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--enable-quic",
                    f"--origin-to-force-quic-on={NAME}:443", f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:PORT"]
        # The hello takes two datagrams; the next two are the first repetition.
        save("chromium", first_flight(chromium + [f"https://{NAME}/"], 4))
        save("chromium-version-2", first_flight(chromium + ["--quic-version=RFCv2", f"https://{NAME}/"], 2))


if __name__ == "__main__":
    main()
