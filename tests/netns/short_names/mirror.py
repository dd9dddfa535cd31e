"""A server on port 53 that answers any datagram with what it saw of it: `address length hex`; "mute" it answers none."""

import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
listener = socket.create_server(("0.0.0.0", 53))
while True:
    data, client = server.recvfrom(65536)
    if sys.argv[1:] != ["mute"]:
        server.sendto(f"{client[0]} {len(data)} {data.hex()}".encode(), client)
