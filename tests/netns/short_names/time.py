"""Asks over UDP N times, each time over a new connected socket as resolvers do; prints the median and the 99th percentile, µs."""

import socket
import sys
import time

SERVER, NAME, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUERY += b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\x00\x00\x01\x00\x01"
took = []
for _ in range(COUNT):
    begin = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        made.connect((SERVER, 53))
        made.send(QUERY)
        made.recv(4096)
    took.append((time.perf_counter() - begin) * 1e6)
took.sort()
print(round(took[COUNT // 2]), round(took[COUNT * 99 // 100]))
