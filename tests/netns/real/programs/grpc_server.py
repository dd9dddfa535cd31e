"""grpcio's server of asyncio: `SPACE`, on port 8080. Messages are bytes; every answer begins with the space and the route
header that was seen. `Log` tells which calls were cancelled."""

import asyncio
import sys

import grpc

SPACE = sys.argv[1]
cancelled = []


def seen(context):
    found = dict(context.invocation_metadata())
    return f"{SPACE} {found.get('azds-route-as', '-')} ".encode()


async def unary(request, context):
    await context.send_initial_metadata((("x-space", SPACE),))
    context.set_trailing_metadata((("x-length", str(len(request))), ("x-bin-bin", b"\0\xff")))
    return seen(context) + request


async def fail(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.decode()} in {SPACE}: ü%")


async def download(request, context):
    """As many messages of as many bytes as are asked for."""
    count, size = map(int, request.split())
    yield seen(context)
    for n in range(count):
        yield bytes([n % 251]) * size


async def upload(requests, context):
    total = 0
    async for request in requests:
        total += len(request)
    return seen(context) + str(total).encode()


async def chat(requests, context):
    async for request in requests:
        yield seen(context) + request


async def sleep(request, context):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        cancelled.append(request.decode())
        raise
    return b""


async def log(request, context):
    return " ".join(sorted(cancelled)).encode()


async def main():
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Download": grpc.unary_stream_rpc_method_handler(download),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
        "Log": grpc.unary_unary_rpc_method_handler(log),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    server.add_insecure_port("[::]:8080")
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
