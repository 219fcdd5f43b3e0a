"""The SHA-256 of an upload, by Flask."""

import hashlib

from flask import Flask, request

app = Flask(__name__)


@app.post("/")
def digest():
    state = hashlib.sha256()
    while data := request.stream.read(65536):
        state.update(data)
    return state.hexdigest()
