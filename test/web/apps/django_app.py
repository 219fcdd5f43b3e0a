"""An ordinary Django project in one file, for WSGI and for ASGI."""

import asyncio
import hashlib
import time
from wsgiref.validate import validator

import records
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.files.uploadhandler import FileUploadHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

HELLO = "hello\n"

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of tests",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    FILE_UPLOAD_HANDLERS=[f"{__name__}.Hashing"],
    DEFAULT_CHARSET="utf-8",
    LOGGING_CONFIG=None,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)


class Hashed:
    """What the upload handler makes of a file."""

    def __init__(self, name, length, digest):
        self.seen = [name, length, digest]


class Hashing(FileUploadHandler):
    """Stores nothing of a file: it takes the digest of the chunks as they come."""

    def new_file(self, *args, **kwargs):
        super().new_file(*args, **kwargs)
        self.digest = hashlib.sha256()

    def receive_data_chunk(self, raw_data, start):
        self.digest.update(raw_data)

    def file_complete(self, file_size):
        return Hashed(self.file_name, file_size, self.digest.hexdigest())


def hello(request):
    return HttpResponse(HELLO, content_type="text/plain")


def form(request):
    return JsonResponse(dict(request.POST.lists()))


def files(request):
    with records.Record(request.GET["id"]):
        seen = {name: file.seen for name, file in request.FILES.items()}
        return JsonResponse({"files": seen, "form": dict(request.POST.lists())})


def stream(request):
    size = int(request.GET.get("size", records.PIECE))
    with records.Record(request.GET["id"]) as record:
        while piece := request.read(size):
            record.add(piece)
    return JsonResponse(record.described())


def whole(request):
    with records.Record(request.GET["id"]) as record:
        record.add(request.body)
    return JsonResponse(record.described())


def ignore(request):
    return HttpResponse("not wanted\n", status=int(request.GET.get("status", 200)))


def read_and_wait(request):
    with records.Record(request.GET["id"]) as record:
        try:
            while piece := request.read(records.PIECE):
                record.add(piece)
        finally:
            _sleep()
    return HttpResponse(HELLO)


def record(request):
    args = request.GET
    seen = records.describe(args["id"], float(args.get("least", "inf")), float(args["wait"]))
    return JsonResponse(seen, safe=False)


def seen_request(request, rest=""):
    return JsonResponse(
        {
            "path": request.path,
            "query": dict(request.GET.lists()),
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "cookies": request.COOKIES,
        }
    )


def header(request):
    response = HttpResponse(HELLO)
    response["X-Back"] = request.GET["value"]
    return response


def empty(request):
    return HttpResponse(status=204)


def failing(request):
    raise ValueError("by intent")


def failing_after(request):
    def body():
        yield b"first"
        raise ValueError("by intent")

    return StreamingHttpResponse(body(), content_type="text/plain")


def produce(request):
    args = request.GET
    body = records.pieces(args["id"], int(args["count"]), int(args["size"]))
    return StreamingHttpResponse(body, content_type="application/octet-stream")


def drip(request):
    def body():
        with records.Record(request.GET["id"]) as record:
            for _ in range(int(records.PATIENCE / 0.02)):
                record.count(1)
                yield b"."
                time.sleep(0.02)

    return StreamingHttpResponse(body(), content_type="text/plain")


def _sleep():
    until = time.monotonic() + records.PATIENCE
    while time.monotonic() < until:
        time.sleep(0.02)


def sleep(request):
    with records.Record(request.GET["id"]) as record:
        record.count(1)
        _sleep()
    return HttpResponse(HELLO)


async def async_sleep(request):
    with records.Record(request.GET["id"]) as record:
        record.count(1)
        await asyncio.sleep(records.PATIENCE)
    return HttpResponse(HELLO)


def compute(request):
    with records.Record(request.GET["id"]) as record:
        record.count(1)
        until = time.monotonic() + records.PATIENCE
        while time.monotonic() < until:
            sum(range(1000))
    return HttpResponse(HELLO)


urlpatterns = [
    path("", hello),
    path("form", form),
    path("files", files),
    path("stream", stream),
    path("whole", whole),
    path("ignore", ignore),
    path("read-and-wait", read_and_wait),
    path("record", record),
    path("request", seen_request),
    path("request/<path:rest>", seen_request),
    path("header", header),
    path("empty", empty),
    path("raise", failing),
    path("raise-after", failing_after),
    path("produce", produce),
    path("drip", drip),
    path("sleep", sleep),
    path("async-sleep", async_sleep),
    path("compute", compute),
]

wsgi = get_wsgi_application()
asgi = get_asgi_application()
validated = validator(wsgi)
