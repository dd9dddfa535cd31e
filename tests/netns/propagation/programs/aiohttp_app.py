"""Calls another service for every request, all of them on one event loop and one pool of connections. Its own code
forwards nothing; what it runs under may."""

import os

import aiohttp
from aiohttp import web


async def call(request):
    session = request.app["session"]
    async with session.get(os.environ["UPSTREAM"] + request.path) as response:
        answer = await response.json()
    return web.json_response({"name": os.environ["NAME"], "headers": list(request.headers.items()), "upstream": answer})


async def session(app):
    app["session"] = aiohttp.ClientSession()
    yield
    await app["session"].close()


app = web.Application()
app.router.add_get("/{path:.*}", call)
app.cleanup_ctx.append(session)
web.run_app(app, host="0.0.0.0", port=8080, print=None)
