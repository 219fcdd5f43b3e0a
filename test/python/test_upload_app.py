"""The application of examples/upload_server, called as PEP 3333 says, with no server."""

import gc
import hashlib
import io
import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from erlang import Cancelled
from erlang.testing import Writer, make_buffer
from support import Background

APP = Path(__file__).parents[2] / "examples/upload_server/app"
sys.path.insert(0, str(APP))

import upload_app  # noqa: E402

DATA = b"name,amount\n" + b"pears,3\n" * 40_000 + b"no newline at the end"
OCTETS = "application/octet-stream"


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    gc.collect()
    left = dict(upload_app._uploads)
    upload_app._uploads.clear()
    assert left == {}


def environ_of(method, path, query="", body=None, **changed):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    environ["wsgi.input"] = io.BytesIO() if body is None else body
    environ["SCRIPT_NAME"] = ""
    environ.update(changed)
    setup_testing_defaults(environ)
    return environ


def request(*args, app=validator(upload_app.application), **changed):
    """The status, the headers, and the iterable of the body."""
    started = []

    def start_response(status, headers, exc_info=None):
        started.append((int(status[:3]), dict(headers)))
        return started.append

    body = app(environ_of(*args, **changed), start_response)
    return *started[0], body


def whole(response):
    status, headers, body = response
    try:
        return status, headers, b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


def post(body, length, *, name="a.csv", **changed):
    if length is not None:
        changed["CONTENT_LENGTH"] = str(length)
    changed.setdefault("CONTENT_TYPE", OCTETS)
    return whole(request("POST", "/uploads/a", f"name={quote(name)}", body, **changed))


def post_live(buffer, length):
    """Without the validator, whose input has no read1()."""
    return post(io.BufferedReader(buffer), length, app=upload_app.application)


def events_of():
    status, headers, body = request("GET", "/events", "id=a", app=upload_app.application)
    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    return body


def decoded(chunk):
    field, _, text = chunk.partition(b": ")
    assert field == b"data" and text.endswith(b"\n\n")
    return json.loads(text)


# ---- The page ----


@pytest.mark.parametrize(
    ("path", "file", "media_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/style.css", "style.css", "text/css; charset=utf-8"),
        ("/upload.js", "upload.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
    ],
)
def test_the_files_of_the_page(path, file, media_type):
    data = (APP / file).read_bytes()
    status, headers, body = whole(request("GET", path))
    assert (status, headers["Content-Type"], body) == (200, media_type, data)
    status, head_headers, body = whole(request("HEAD", path, app=upload_app.application))
    assert (status, head_headers, body) == (200, headers, b"")
    assert headers["Content-Length"] == str(len(data))


def test_nothing_from_elsewhere_is_run():
    _, headers, body = whole(request("GET", "/"))
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert b"://" not in body


@pytest.mark.parametrize(
    "path", ["/nothing", "/upload_app.py", "/../upload_app.py", "/uploads/", "/uploads/a/b"]
)
def test_there_is_nothing_else(path):
    assert whole(request("GET", path))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/", "GET, HEAD"), ("GET", "/uploads/a", "POST"), ("POST", "/events", "GET")],
)
def test_other_methods_are_refused(method, path, allowed):
    status, headers, body = whole(request(method, path))
    assert (status, headers["Allow"]) == (405, allowed)
    assert allowed.encode() in body


# ---- Uploads ----


@pytest.mark.parametrize("make", [io.BytesIO, lambda data: io.BufferedReader(make_buffer(data))])
@pytest.mark.parametrize("data", [b"", b"\n", DATA], ids=["empty", "newline", "data"])
def test_the_result(make, data):
    status, headers, body = post(make(data), len(data), name="pears & plums é.csv")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    result = json.loads(body)
    assert result["name"] == "pears & plums é.csv"
    assert result["bytes"] == len(data)
    assert result["lines"] == data.count(b"\n")
    assert result["sha256"] == hashlib.sha256(data).hexdigest()
    assert result["seconds"] >= 0


@pytest.mark.skipif(not shutil.which("file"), reason="there is no file(1)")
@pytest.mark.parametrize(
    ("data", "media_type"),
    [(b"%PDF-1.7\n" * 20_000, "application/pdf"), (b"words\n" * 50_000, "text/plain")],
    ids=["pdf", "text"],
)
def test_the_type_is_that_of_the_bytes(data, media_type):
    body = post(io.BytesIO(data), len(data), CONTENT_TYPE="image/png")[2]
    assert json.loads(body)["type"] == media_type


@pytest.mark.parametrize(("declared", "media_type"), [("image/png", "image/png"), ("", OCTETS)])
def test_the_type_is_what_is_declared_without_file(monkeypatch, declared, media_type):
    monkeypatch.setenv("PATH", os.devnull)
    body = post(io.BytesIO(b"%PDF-1.7\n"), 9, CONTENT_TYPE=declared)[2]
    assert json.loads(body)["type"] == media_type


def test_no_more_is_read_than_the_content_length():
    body = io.BytesIO(b"one\nGET / HTTP/1.1\n")
    assert json.loads(post(body, 4)[2])["bytes"] == 4
    assert body.read() == b"GET / HTTP/1.1\n"


def test_without_a_length_the_end_is_that_of_the_input():
    terminated = {"wsgi.input_terminated": True}
    body = post(io.BufferedReader(make_buffer(DATA)), None, **terminated)[2]
    assert json.loads(body)["bytes"] == len(DATA)
    assert json.loads(post(io.BytesIO(DATA), None)[2])["bytes"] == 0


def test_one_id_is_of_one_upload():
    with Writer(4) as writer:
        first = Background(post_live, writer.buffer, 4)
        events = events_of()
        while decoded(next(events))["state"] == "waiting":
            pass
        assert post(io.BytesIO(b"b"), 1)[0] == 409
        writer.write(b"a\nb\n")
    assert json.loads(first.result()[2])["lines"] == 2
    assert [decoded(chunk)["state"] for chunk in events][-1] == "done"


# ---- Events ----


def test_events_tell_what_has_come_while_it_comes():
    events = events_of()
    assert decoded(next(events))["state"] == "waiting"
    with Writer(6) as writer:
        handler = Background(post_live, writer.buffer, 6)
        writer.write(b"a\nb\n")
        event = next(event for event in map(decoded, events) if event["received"])
        assert event["state"] == "receiving"
        assert (event["received"], event["lines"], event["expected"]) == (4, 2, 6)
        assert event["result"] is None
        writer.write(b"c\n")
    result = json.loads(handler.result()[2])
    event = [decoded(chunk) for chunk in events][-1]
    assert (event["state"], event["received"], event["result"]) == ("done", 6, result)
    assert event["average"] == pytest.approx(6 / event["seconds"])


def test_the_end_is_told_at_once(monkeypatch):
    monkeypatch.setattr(upload_app, "EVENT_SECONDS", 1000)
    events = events_of()
    next(events)
    listener = Background(list, events)
    post(io.BytesIO(DATA), len(DATA))
    assert decoded(listener.result()[-1])["state"] == "done"


def test_who_comes_late_is_told_the_result_as_well():
    early, late = events_of(), events_of()
    next(early)
    post(io.BytesIO(DATA), len(DATA))
    for listener in (late, early):
        event = decoded(next(listener))
        assert (event["state"], event["result"]["bytes"]) == ("done", len(DATA))
        assert list(listener) == []


def test_a_listener_that_goes_away_leaves_nothing():
    events = events_of()
    next(events)
    assert list(upload_app._uploads) == ["a"]
    events.close()
    assert list(upload_app._uploads) == []


def test_an_upload_that_never_begins(monkeypatch):
    monkeypatch.setattr(upload_app, "BEGIN_SECONDS", -1)
    (chunk,) = events_of()
    event = decoded(chunk)
    assert (event["state"], event["reason"]) == ("failed", "it has not begun")


@pytest.mark.parametrize("query", ["", "id=", "id=a/b", "id=" + "a" * 65])
def test_events_of_no_upload(query):
    assert whole(request("GET", "/events", query))[0] == 400


def test_the_memory_is_that_of_this_process():
    events = events_of()
    next(events)
    post(io.BytesIO(DATA), len(DATA))
    event = decoded(next(events))
    events.close()
    if upload_app.resident_bytes() is None:
        assert event["memory"] is None
    else:
        assert 0 < event["memory_before"] <= event["memory_highest"] >= event["memory"]


def test_the_rate_is_that_of_the_last_second():
    rate = upload_app.Rate()
    assert rate.after(0.0, 0) == 0.0
    assert rate.after(0.5, 100) == 200.0
    assert rate.after(1.0, 200) == 200.0
    assert rate.after(1.5, 1200) == 1100.0
    assert rate.after(9.0, 1200) == 0.0


# ---- Uploads that fail ----


def failure(body, length):
    """The status of the answer, and the last event."""
    events = events_of()
    next(events)
    status = post(body, length)[0]
    return status, [decoded(chunk) for chunk in events][-1]


def test_a_body_that_is_too_short_is_a_failure():
    status, event = failure(io.BytesIO(b"half"), 8)
    assert (status, event["state"], event["result"]) == (400, "failed", None)
    assert event["reason"] == "the last 4 bytes are missing"


def test_a_client_that_goes_away_is_a_failure():
    writer = Writer(8)
    writer.write(b"half")
    writer.abort("client_gone")
    status, event = failure(io.BufferedReader(writer.buffer), 8)
    assert (status, event["state"], event["result"]) == (400, "failed", None)
    assert "client_gone" in event["reason"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Cancelled, "the handler was stopped"), (ValueError, "no luck")],
)
def test_a_handler_that_is_stopped_is_a_failure(error, reason):
    class Body(io.BytesIO):
        def read1(self, size=-1):
            raise error("no luck")

    events = events_of()
    next(events)
    with pytest.raises(error):
        request("POST", "/uploads/a", "", Body(), CONTENT_LENGTH="8", app=upload_app.application)
    event = decoded(list(events)[-1])
    assert (event["state"], event["reason"], event["result"]) == ("failed", reason, None)


def test_a_handler_that_is_stopped_in_the_middle_of_its_failure(monkeypatch):
    """The end of a client is an error of the body, and soon after a cancellation."""
    fail, calls = upload_app.Upload.fail, []

    def cancelled_at_first(upload, reason):
        calls.append(reason)
        if len(calls) == 1:
            raise Cancelled
        fail(upload, reason)

    monkeypatch.setattr(upload_app.Upload, "fail", cancelled_at_first)
    events = events_of()
    next(events)
    with pytest.raises(Cancelled):
        post(io.BytesIO(b"half"), 8)
    assert decoded(list(events)[-1])["state"] == "failed"
