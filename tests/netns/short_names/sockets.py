"""Asks a DNS server over every kind of socket and prints what the socket shows of it: `kind peer source answer-length`."""

import socket
import sys

SERVER, NAME = sys.argv[1], sys.argv[2]
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUERY += b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\x00\x00\x01\x00\x01"


def show(kind, peer, source, answer):
    assert answer[:2] == QUERY[:2] and answer[2] & 0x80, answer
    print(kind, peer, source, int.from_bytes(answer[6:8], "big"))


def udp(family, server):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(5)
    made.sendto(QUERY, (server, 53))
    answer, source = made.recvfrom(4096)
    show("unconnected", "-", f"{source[0]} {source[1]}", answer)
    made.close()
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(5)
    made.connect((server, 53))
    made.send(QUERY)
    answer, source = made.recvfrom(4096)
    show("connected", made.getpeername()[0], f"{source[0]} {source[1]}", answer)
    print("own", made.getsockname()[0])
    made.close()


def tcp(family, server):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.settimeout(5)
    made.connect((server, 53))
    peer = made.getpeername()[0]
    # In two pieces, the length torn apart.
    framed = len(QUERY).to_bytes(2, "big") + QUERY
    made.sendall(framed[:1])
    made.sendall(framed[1:])
    stream = made.makefile("rb")
    answer = stream.read(int.from_bytes(stream.read(2), "big"))
    show("tcp", peer, f"{peer} {made.getpeername()[1]}", answer)
    made.close()


FAMILY = socket.AF_INET6 if ":" in SERVER else socket.AF_INET
udp(FAMILY, SERVER)
tcp(FAMILY, SERVER)
