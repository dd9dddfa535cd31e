"""The websockets package: `serve SPACE` on port 8080, or `call URL SPACE` ("-": without the header)."""

import os
import socket
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect
from websockets.sync.server import serve

MIB = 1 << 20


def server(space):
    def handler(connection):
        connection.send(f"{space} {connection.request.headers.get('azds-route-as', '')}")
        for message in connection:
            connection.send(message)

    both = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    with serve(handler, "::", 8080, subprotocols=["echo.test"], max_size=4 * MIB, **both) as listening:
        listening.serve_forever()


def client(url, space):
    headers = {} if space == "-" else {"azds-route-as": space}
    options = {"subprotocols": ["echo.test"], "max_size": 4 * MIB, "open_timeout": 20, "proxy": None}
    with connect(url, additional_headers=headers, **options) as connection:
        assert connection.subprotocol == "echo.test"
        # The server speaks first.
        print(connection.recv(20))
        for message in ["", "h\u00e9llo", "x" * 70_000, b"", bytes(range(256)), os.urandom(3 * MIB)]:
            connection.send(message)
            assert connection.recv(20) == message, f"{len(message)} of {type(message)}"
        # A message in several frames, and many messages before the first answer is read.
        connection.send(["a", "b", "c"])
        assert connection.recv(20) == "abc"
        for n in range(100):
            connection.send(str(n))
        assert [connection.recv(20) for _ in range(100)] == [str(n) for n in range(100)]
        assert connection.ping().wait(20), "no pong"
        connection.close(1000, "done")
        try:
            connection.recv(20)
            raise AssertionError("the connection is still open")
        except ConnectionClosedOK as end:
            assert (end.rcvd.code, end.rcvd.reason) == (1000, "done"), end
        print("closed")


{"serve": server, "call": client}[sys.argv[1]](*sys.argv[2:])
