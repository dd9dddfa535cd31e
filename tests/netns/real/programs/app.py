"""What gunicorn serves: files, checksums of what was sent, streams, and the header that it saw."""

import hashlib
import os

SPACE = os.environ["SPACE"]
FILES = os.environ["FILES"]
BLOCK = 65536


def app(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("X-Space", SPACE), ("X-Route", environ.get("HTTP_AZDS_ROUTE_AS", ""))]
    if path.startswith("/sum"):
        digest, length = hashlib.sha256(), 0
        while block := environ["wsgi.input"].read(BLOCK):
            digest.update(block)
            length += len(block)
        body = f"{environ['REQUEST_METHOD']} {length} {digest.hexdigest()}\n".encode()
    elif path.startswith("/stream/"):
        # Without a length: gunicorn sends it in chunks.
        start_response("200 OK", headers)
        return (bytes([n % 251]) * BLOCK for n in range(int(path.removeprefix("/stream/"))))
    else:
        try:
            with open(FILES + path, "rb") as file:
                body = file.read()
        except OSError:
            start_response("404 Not Found", [*headers, ("Content-Length", "0")])
            return []
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]
