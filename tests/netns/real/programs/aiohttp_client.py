"""aiohttp: `get OUT URL SPACE...`, `many URL COUNT` (in parallel on a few connections), or `events URL NAME COUNT`."""

import asyncio
import hashlib
import sys

import aiohttp

CONNECTIONS = 8


def route(space):
    return {} if space == "-" else {"azds-route-as": space}


async def get(session, out, url, *spaces):
    for n, space in enumerate(spaces):
        async with session.get(url, headers=route(space)) as answer:
            with open(f"{out}.{n}", "wb") as file:
                file.write(await answer.read())
            print(answer.status, answer.headers["X-Space"], answer.headers["X-Route"])


async def many(session, url, count):
    async def pieces(n):
        for _ in range(n):
            yield bytes([n % 251]) * n * 100

    async def one(n):
        space = "azureuser" if n % 2 else "default"
        data = bytes([n % 251]) * n * 100 * n
        async with session.put(f"{url}/sum", data=pieces(n), headers=route(space)) as answer:
            assert answer.headers["X-Space"] == answer.headers["X-Route"] == space, (n, answer.headers)
            text = await answer.text()
            assert text == f"PUT {len(data)} {hashlib.sha256(data).hexdigest()}\n", (n, text)

    await asyncio.gather(*(one(n) for n in range(int(count))))


async def events(session, url, name, count):
    """Asks for each event only when the one before it has come: events that wait for company never come."""
    async with session.get(f"{url}/events/{name}") as stream:
        assert stream.content_type == "text/event-stream", stream.headers

        async def event():
            lines = []
            while (line := (await stream.content.readline()).decode()) != "\n":
                assert line, "the stream has ended"
                lines.append(line)
            return "".join(lines)

        assert await event() == "retry: 1000\n"
        space = stream.headers["X-Space"]
        for n in range(1, int(count) + 1):
            async with session.post(f"{url}/next/{name}") as answer:
                assert answer.status == 204, answer.status
            assert await event() == f"id: {n}\nevent: tick\ndata: {space} {n}\n"
        async with session.post(f"{url}/last/{name}") as answer:
            assert answer.status == 204, answer.status
        assert await stream.content.read() == b""


async def main(what, *args):
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await {"get": get, "many": many, "events": events}[what](session, *args)


asyncio.run(main(*sys.argv[1:]))
