"""Python requests, on one session: `get OUT URL SPACE...`, or `stream URL BLOCKS`."""

import hashlib
import sys

import requests

BLOCK = 65536


def get(session, out, url, *spaces):
    for n, space in enumerate(spaces):
        headers = {} if space == "-" else {"azds-route-as": space}
        answer = session.get(url, headers=headers, timeout=20)
        with open(f"{out}.{n}", "wb") as file:
            file.write(answer.content)
        print(answer.status_code, answer.headers["X-Space"], answer.headers["X-Route"])


def stream(session, url, blocks):
    blocks = int(blocks)
    sent = hashlib.sha256()

    def upload():
        for n in range(blocks):
            block = bytes([n % 251]) * BLOCK
            sent.update(block)
            yield block

    answer = session.post(f"{url}/sum", data=upload(), timeout=20)
    assert answer.text == f"POST {blocks * BLOCK} {sent.hexdigest()}\n", answer.text
    received = hashlib.sha256()
    with session.get(f"{url}/stream/{blocks}", stream=True, timeout=20) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked", answer.headers
        for block in answer.iter_content(BLOCK):
            received.update(block)
    assert received.digest() == sent.digest()


with requests.Session() as the_session:
    # A proxy in the environment is not what is tested.
    the_session.trust_env = False
    {"get": get, "stream": stream}[sys.argv[1]](the_session, *sys.argv[2:])
