"""Calls another service for every request, with requests. Its own code forwards nothing; what it runs under may."""

import os

import requests
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/<path:path>")
def call(path):
    answer = requests.get(f"{os.environ['UPSTREAM']}/{path}", timeout=20).json()
    return jsonify(name=os.environ["NAME"], headers=list(request.headers.items()), upstream=answer)


app.run("0.0.0.0", 8080, threaded=True)
