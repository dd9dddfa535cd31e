"""The same as calls.py as one event loop (aiohttp): all requests on one thread, at once."""

import asyncio
import os

import aiohttp
from aiohttp import web

BACKEND = os.environ["BACKEND"]


async def answer(request):
    _, way, tag = request.path.split("/", 2)
    # So that requests overlap: reads of others come between a request and its call.
    await asyncio.sleep(0.005)
    if way == "kept":
        async with request.app["session"].get(f"http://{BACKEND}/{tag}") as response:
            body = await response.read()
    else:
        async with aiohttp.ClientSession() as session, session.get(f"http://{BACKEND}/{tag}") as response:
            body = await response.read()
    return web.Response(body=body)


async def start(app):
    app["session"] = aiohttp.ClientSession()


app = web.Application()
app.on_startup.append(start)
app.router.add_get("/{rest:.*}", answer)
web.run_app(app, host="0.0.0.0", port=8080, print=None, access_log=None)
