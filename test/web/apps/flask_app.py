"""An ordinary Flask application that takes uploads."""

import hashlib
import time
from wsgiref.validate import validator

import records
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
app.config["PROPAGATE_EXCEPTIONS"] = True
HELLO = "hello\n"


@app.get("/")
def hello():
    return HELLO, {"Content-Type": "text/plain"}


@app.post("/form")
def form():
    return jsonify(request.form.to_dict(flat=False))


@app.post("/files")
def files():
    with records.Record(request.args["id"]):
        seen = {}
        for name, file in request.files.items():
            digest = hashlib.sha256()
            length = 0
            while piece := file.stream.read(records.PIECE):
                digest.update(piece)
                length += len(piece)
            seen[name] = [file.filename, length, digest.hexdigest()]
        return jsonify(files=seen, form=request.form.to_dict(flat=False))


@app.post("/stream")
def stream():
    size = int(request.args.get("size", records.PIECE))
    with records.Record(request.args["id"]) as record:
        while piece := request.stream.read(size):
            record.add(piece)
    return jsonify(record.described())


@app.post("/whole")
def whole():
    with records.Record(request.args["id"]) as record:
        record.add(request.get_data())
    return jsonify(record.described())


@app.post("/ignore")
def ignore():
    return "not wanted\n", int(request.args.get("status", 200))


@app.post("/read-and-wait")
def read_and_wait():
    with records.Record(request.args["id"]) as record:
        try:
            while piece := request.stream.read(records.PIECE):
                record.add(piece)
        finally:
            _sleep()
    return HELLO


@app.get("/record")
def record():
    args = request.args
    return jsonify(
        records.describe(args["id"], float(args.get("least", "inf")), float(args["wait"]))
    )


@app.get("/request")
@app.get("/request/<path:rest>")
def seen_request(rest=""):
    return jsonify(
        path=request.path,
        query=request.args.to_dict(flat=False),
        headers=[[name.lower(), value] for name, value in request.headers],
        cookies=request.cookies.to_dict(),
    )


@app.get("/header")
def header():
    return HELLO, {"X-Back": request.args["value"]}


@app.get("/empty")
def empty():
    return Response(status=204)


@app.get("/raise")
def failing():
    raise ValueError("by intent")


@app.get("/raise-after")
def failing_after():
    def body():
        yield b"first"
        raise ValueError("by intent")

    return Response(body(), mimetype="text/plain")


@app.get("/produce")
def produce():
    args = request.args
    body = records.pieces(args["id"], int(args["count"]), int(args["size"]))
    return Response(body, mimetype="application/octet-stream")


@app.get("/drip")
def drip():
    name = request.args["id"]

    def body():
        with records.Record(name) as record:
            for _ in range(int(records.PATIENCE / 0.02)):
                record.count(1)
                yield b"."
                time.sleep(0.02)

    return Response(body(), mimetype="text/plain")


def _sleep():
    until = time.monotonic() + records.PATIENCE
    while time.monotonic() < until:
        time.sleep(0.02)


@app.get("/sleep")
def sleep():
    with records.Record(request.args["id"]) as record:
        record.count(1)
        _sleep()
    return HELLO


@app.get("/compute")
def compute():
    with records.Record(request.args["id"]) as record:
        record.count(1)
        until = time.monotonic() + records.PATIENCE
        while time.monotonic() < until:
            sum(range(1000))
    return HELLO


validated = validator(app)
