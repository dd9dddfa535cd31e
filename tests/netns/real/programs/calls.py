"""A service that calls another one for each request and passes nothing on: what gunicorn serves for `propagate: thread`.

`/new/TAG` calls on a connection of its own, `/kept/TAG` on one that its thread keeps, `/session/TAG` by way of requests.
Each call has the tag of the request that it is made for, which only the test compares. The answer is the backend's.
"""

import http.client
import os
import threading

import requests

BACKEND = os.environ["BACKEND"]
own = threading.local()


def call(connection, tag):
    connection.request("GET", f"/{tag}")
    return connection.getresponse().read()


def new(tag):
    connection = http.client.HTTPConnection(BACKEND, timeout=30)
    try:
        return call(connection, tag)
    finally:
        connection.close()


def kept(tag):
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPConnection(BACKEND, timeout=30)
    return call(own.connection, tag)


def session(tag):
    if not hasattr(own, "session"):
        own.session = requests.Session()
        own.session.trust_env = False
    return own.session.get(f"http://{BACKEND}/{tag}", timeout=30).content


WAYS = {"new": new, "kept": kept, "session": session}


def app(environ, start_response):
    _, way, tag = environ["PATH_INFO"].split("/", 2)
    body = WAYS[way](tag)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
