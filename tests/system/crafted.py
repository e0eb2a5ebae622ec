"""Packets made by hand, byte by byte, and sent past the sender's own netfilter: what a hostile node can put on the wire."""

import json
import socket
import struct
import subprocess


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ip(source, destination, protocol, payload):
    """A whole packet of the addresses' family."""
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + packed(source) + packed(destination) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + packed(source) + packed(destination)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def pseudo_header(source, destination, protocol, length):
    tail = struct.pack("!IHBB", length, 0, 0, protocol) if ":" in source else struct.pack("!BBH", 0, protocol, length)
    return packed(source) + packed(destination) + tail


def udp(source, destination, source_port, destination_port, data=b"data", length=None, damaged=False):
    header = struct.pack("!HHHH", source_port, destination_port, 8 + len(data) if length is None else length, 0) + data
    value = checksum(pseudo_header(source, destination, 17, 8 + len(data)) + header) or 0xffff
    return ip(source, destination, 17, header[:6] + struct.pack("!H", value ^ 0x5555 if damaged else value) + header[8:])


def tcp(source, destination, source_port, destination_port, flags, words=5, damaged=False):
    header = struct.pack("!HHIIBBHHH", source_port, destination_port, 1000, 0, words << 4, flags, 65535, 0, 0)
    value = checksum(pseudo_header(source, destination, 6, len(header)) + header)
    return ip(source, destination, 6, header[:16] + struct.pack("!H", value ^ 0x5555 if damaged else value) + header[18:])


def icmp(source, destination, kind, code, body=b"data"):
    protocol = 58 if ":" in source else 1
    message = struct.pack("!BBH4x", kind, code, 0) + body
    value = checksum((pseudo_header(source, destination, 58, len(message)) if protocol == 58 else b"") + message)
    return ip(source, destination, protocol, message[:2] + struct.pack("!H", value) + message[4:])


class Wire:
    """Puts packets on a namespace's eth0, addressed to the NVA's interface at its other end."""

    def __init__(self, lab, namespace, interface):
        shown = subprocess.run(["ip", "-n", lab.nva.name, "-j", "link", "show", "dev", interface], capture_output=True, text=True,
                               check=True)
        self.destination = bytes.fromhex(json.loads(shown.stdout)[0]["address"].replace(":", ""))
        with namespace.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, packet):
        kind = 0x0800 if packet[0] >> 4 == 4 else 0x86dd
        self.socket.sendto(packet, ("eth0", kind, 0, 0, self.destination))
