"""grpcio's client of asyncio, on one connection: `kinds`, `many COUNT`, `ends`, `refused` or `large`, before it the target;
`idle COUNT` on so many.
Fails by itself where something is wrong; prints what the test looks at."""

import asyncio
import sys

import grpc

SPACES = ("default", "azureuser")


def route(space):
    return (("azds-route-as", space),)


class Client:
    def __init__(self, channel):
        path = "/test.Test/"
        self.unary, self.fail = channel.unary_unary(path + "Unary"), channel.unary_unary(path + "Fail")
        self.download, self.upload = channel.unary_stream(path + "Download"), channel.stream_unary(path + "Upload")
        self.chat, self.sleep = channel.stream_stream(path + "Chat"), channel.unary_unary(path + "Sleep")
        self.log = channel.unary_unary(path + "Log")


async def kinds(client):
    """Every kind of call, in both spaces and without the header, one after the other."""
    for space, header in [("default", "default"), ("azureuser", "azureuser"), ("default", None)]:
        metadata = route(header) if header else ()
        # The caller lives in `default`: what names no space gets its header.
        seen = f"{space} {header or 'default'} ".encode()

        call = client.unary(b"hello", metadata=metadata)
        assert await call == seen + b"hello", await call
        assert dict(await call.initial_metadata())["x-space"] == space
        trailing = dict(await call.trailing_metadata())
        assert (trailing["x-length"], trailing["x-bin-bin"]) == ("5", b"\0\xff"), trailing

        try:
            await client.fail(b"thing", metadata=metadata)
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND and error.details() == f"no thing in {space}: ü%", error

        messages = [message async for message in client.download(b"20 30000", metadata=metadata)]
        assert messages == [seen] + [bytes([n]) * 30000 for n in range(20)]

        async def pieces():
            for n in range(100):
                yield bytes([n]) * 1000 * n

        assert await client.upload(pieces(), metadata=metadata) == seen + str(sum(1000 * n for n in range(100))).encode()

        # One message is sent only when the one before it has come back.
        call = client.chat(metadata=metadata)
        for n in range(20):
            await call.write(str(n).encode())
            assert await call.read() == seen + str(n).encode()
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF and await call.code() == grpc.StatusCode.OK


async def many(client, count):
    """So many calls open at once, in turn in one space and the other; then each says several things."""

    async def one(n, all_open):
        space = SPACES[n % 2]
        call = client.chat(metadata=route(space))
        await call.write(b"open")
        assert await call.read() == f"{space} {space} open".encode()
        all_open[0] += 1
        if all_open[0] == int(count):
            all_open[1].set()
        await all_open[1].wait()
        for m in range(5):
            text = f"{n}.{m}".encode() * (n % 50 + 1)
            await call.write(text)
            answer = await call.read()
            assert answer == f"{space} {space} ".encode() + text, (n, answer)
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF

    all_open = [0, asyncio.Event()]
    await asyncio.gather(*(one(n, all_open) for n in range(int(count))))


async def ends(client):
    """Deadlines and cancellations arrive at the server as such, and the connection goes on."""
    try:
        await client.sleep(b"deadline", metadata=route("azureuser"), timeout=0.2)
        raise AssertionError("no deadline")
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    call = client.sleep(b"cancelled", metadata=route("azureuser"))
    await asyncio.sleep(0.2)
    call.cancel()
    try:
        await call
        raise AssertionError("not cancelled")
    except asyncio.CancelledError:
        pass
    for _ in range(100):
        if await client.log(b"", metadata=route("azureuser")) == b"cancelled deadline":
            break
        await asyncio.sleep(0.05)
    print((await client.log(b"", metadata=route("azureuser"))).decode())
    print((await client.log(b"", metadata=route("default"))).decode())


async def refused(client):
    """Calls whose upstream cannot be reached."""
    for call in [client.unary(b"x", metadata=route("azureuser")), client.chat(metadata=route("azureuser"))]:
        try:
            await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read())
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details())
    assert (await client.unary(b"x", metadata=route("default"))).startswith(b"default ")


async def large(client, mebibytes):
    """As many MiB up and down, in messages of one MiB."""
    message = bytes(1 << 20)

    async def pieces():
        for _ in range(int(mebibytes)):
            yield message

    total = int(mebibytes) << 20
    answer = await client.upload(pieces(), metadata=route("azureuser"))
    assert answer == f"azureuser azureuser {total}".encode(), answer
    got = 0
    async for part in client.download(f"{mebibytes} {1 << 20}".encode(), metadata=route("azureuser")):
        got += len(part)
    assert got == total + len(b"azureuser azureuser "), got


async def idle(target, options, count):
    """As many connections, each of which has carried one call, open at once."""
    options = [*options, ("grpc.use_local_subchannel_pool", 1), ("grpc.keepalive_time_ms", 3600000)]
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(int(count))]
    for channel in channels:
        assert await Client(channel).unary(b"x", metadata=route("azureuser")) == b"azureuser azureuser x"
    for channel in channels:
        await channel.close()


async def main(target, what, *args):
    # Its own pings, as soon as it may: they must neither fail nor end the connection.
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if what == "idle":
        return await asyncio.wait_for(idle(target, options, *args), 100)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        tests = {"kinds": kinds, "many": many, "ends": ends, "refused": refused, "large": large}
        await asyncio.wait_for(tests[what](Client(channel), *args), 100)


asyncio.run(main(*sys.argv[1:]))
