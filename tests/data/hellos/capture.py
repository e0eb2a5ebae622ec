#!/usr/bin/python3
"""Records the first flight of real TLS clients as hexadecimal files beside this script.

Needs openssl, curl and gnutls-cli. Everything stays on loopback: a listener takes the first bytes and hangs up.
The session for the PSK hellos comes from an `openssl s_server` with a throw-away key.
"""
import pathlib
import socket
import subprocess
import tempfile
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
NAME = "mcr.microsoft.com"


def first_flight(command, stdin=b""):
    """What the client that `command` starts sends before anything is answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = subprocess.Popen([part.replace("PORT", str(port)) for part in command], stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server.settimeout(10)
        connection, _ = server.accept()
        connection.settimeout(1)
        received = b""
        try:
            if stdin:
                client.stdin.write(stdin)
                client.stdin.flush()
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        connection.close()
        client.kill()
        client.wait()
    return received


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def start_server(directory, *options):
    """An `openssl s_server` that is ready, and its port."""
    key, certificate = (str(directory / part) for part in ("key", "certificate"))
    if not (directory / "key").exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                        "-subj", f"/CN={NAME}"], check=True, stderr=subprocess.DEVNULL)
    port = free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", key, "-cert", certificate,
                               *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    next(line for line in server.stdout if b"ACCEPT" in line)
    return server, port


def stop(process):
    process.kill()
    process.wait()


def retried_handshake(directory):
    """Both hellos of a client whose first key share the server did not like, and the server's answer to the first."""
    server, server_port = start_server(directory, "-groups", "P-384")
    with socket.create_server(("127.0.0.1", 0)) as middle:
        client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{middle.getsockname()[1]}", "-servername",
                                   NAME, "-groups", "X25519:P-384"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        client_side, _ = middle.accept()
        server_side = socket.create_connection(("127.0.0.1", server_port))
        flights = []
        for source, target in ((client_side, server_side), (server_side, client_side), (client_side, None)):
            flights.append(source.recv(65536))
            if target is not None:
                target.sendall(flights[-1])
        client_side.close()
        server_side.close()
    stop(client)
    stop(server)
    return flights


def save(name, flight):
    (HERE / f"{name}.hex").write_text("\n".join(textwrap.wrap(flight.hex(), 96)) + "\n")
    print(f"{name}: {len(flight)} bytes")


def session_file(directory):
    """A TLS 1.3 session that allows early data."""
    session = str(directory / "session")
    server, port = start_server(directory, "-early_data")
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, "-sess_out",
                               session], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        # The tickets come before any data, so they are in the file when this line is.
        server.stdin.write(b"mark\n")
        server.stdin.flush()
        next(line for line in client.stdout if b"mark" in line)
    finally:
        stop(client)
        stop(server)
    return session


def main():
    s_client = ["openssl", "s_client", "-connect", "127.0.0.1:PORT"]
    named = s_client + ["-servername", NAME]
    curl = ["curl", "-sk", "--resolve", f"{NAME}:PORT:127.0.0.1", f"https://{NAME}:PORT/"]
    gnutls = ["gnutls-cli", "--insecure", "--port", "PORT", "127.0.0.1"]
    save("openssl-tls13", first_flight(named))
    save("openssl-tls12-only", first_flight(named + ["-tls1_2"]))
    save("openssl-no-name", first_flight(s_client + ["-noservername"]))
    save("openssl-many-groups", first_flight(named + ["-groups", "ffdhe8192", "-alpn", "konnectivity,h2"]))
    save("curl-http1", first_flight(curl + ["--http1.1"]))
    save("curl-http2", first_flight(curl + ["--http2"]))
    save("gnutls-tls13", first_flight(gnutls + ["--sni-hostname", NAME, "--alpn", "h2", "--alpn", "http/1.1"]))
    save("gnutls-tls12-only", first_flight(gnutls + ["--sni-hostname", NAME, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2"]))
    with tempfile.TemporaryDirectory() as directory:
        first, answer, second = retried_handshake(pathlib.Path(directory))
        save("retry-1-client", first)
        save("retry-2-server", answer)
        save("retry-3-client", second)
        session = session_file(pathlib.Path(directory))
        early = pathlib.Path(directory) / "early"
        early.write_bytes(b"GET / HTTP/1.1\r\nHost: mcr.microsoft.com\r\n\r\n")
        save("openssl-psk", first_flight(named + ["-sess_in", session]))
        save("openssl-early-data", first_flight(named + ["-sess_in", session, "-early_data", str(early)]))


if __name__ == "__main__":
    main()
