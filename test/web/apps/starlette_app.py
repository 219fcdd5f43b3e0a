"""An ordinary Starlette application that takes uploads."""

import asyncio
import gc
import hashlib
from contextlib import asynccontextmanager

import records
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

HELLO = "hello\n"


@asynccontextmanager
async def lifespan(app):
    app.state.started = True
    yield
    print("lifespan: shutdown", flush=True)


async def hello(request):
    return PlainTextResponse(HELLO)


async def started(request):
    return JSONResponse(request.app.state.started)


async def form(request):
    fields = await request.form()
    names = dict.fromkeys(fields)
    return JSONResponse({name: fields.getlist(name) for name in names})


async def files(request):
    with records.Record(request.query_params["id"]):
        seen, fields = {}, {}
        async with request.form() as received:
            for name, value in received.multi_items():
                if isinstance(value, str):
                    fields.setdefault(name, []).append(value)
                    continue
                digest = hashlib.sha256()
                length = 0
                while piece := await value.read(records.PIECE):
                    digest.update(piece)
                    length += len(piece)
                seen[name] = [value.filename, length, digest.hexdigest()]
        return JSONResponse({"files": seen, "form": fields})


async def stream(request):
    with records.Record(request.query_params["id"]) as record:
        async for piece in request.stream():
            record.add(piece)
    return JSONResponse(record.described())


async def whole(request):
    with records.Record(request.query_params["id"]) as record:
        record.add(await request.body())
    return JSONResponse(record.described())


async def ignore(request):
    status = int(request.query_params.get("status", 200))
    return PlainTextResponse("not wanted\n", status)


async def read_and_wait(request):
    with records.Record(request.query_params["id"]) as record:
        async for piece in request.stream():
            record.add(piece)
        await _until_disconnected(request)


def collect(request):
    """What is left of a stream that nobody reads any more is closed when it is collected."""
    return JSONResponse(gc.collect() >= 0)


def record(request):
    args = request.query_params
    return JSONResponse(
        records.describe(args["id"], float(args.get("least", "inf")), float(args["wait"]))
    )


async def seen_request(request):
    args = request.query_params
    return JSONResponse(
        {
            "path": request.scope["path"],
            "query": {name: args.getlist(name) for name in args},
            "headers": request.headers.items(),
            "cookies": request.cookies,
        }
    )


async def header(request):
    return PlainTextResponse(HELLO, headers={"X-Back": request.query_params["value"]})


async def empty(request):
    return Response(status_code=204)


async def failing(request):
    raise ValueError("by intent")


async def failing_after(request):
    async def body():
        yield b"first"
        raise ValueError("by intent")

    return StreamingResponse(body(), media_type="text/plain")


async def produce(request):
    args = request.query_params

    async def body():
        for piece in records.pieces(args["id"], int(args["count"]), int(args["size"])):
            yield piece

    return StreamingResponse(body(), media_type="application/octet-stream")


async def drip(request):
    async def body():
        with records.Record(request.query_params["id"]) as record:
            for _ in range(int(records.PATIENCE / 0.02)):
                record.count(1)
                yield b"."
                await asyncio.sleep(0.02)

    return StreamingResponse(body(), media_type="text/plain")


class Disconnected(Exception):
    pass


async def _until_disconnected(request):
    for _ in range(int(records.PATIENCE / 0.02)):
        if await request.is_disconnected():
            raise Disconnected
        await asyncio.sleep(0.02)


async def sleep(request):
    with records.Record(request.query_params["id"]) as record:
        record.count(1)
        await _until_disconnected(request)


async def stubborn(request):
    """Does not look whether its client is there."""
    with records.Record(request.query_params["id"]) as record:
        record.count(1)
        await asyncio.sleep(records.PATIENCE)


async def socket(websocket):
    await websocket.accept()
    await websocket.send_text(HELLO)
    await websocket.close()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", hello),
        Route("/started", started),
        Route("/form", form, methods=["POST"]),
        Route("/files", files, methods=["POST"]),
        Route("/stream", stream, methods=["POST"]),
        Route("/whole", whole, methods=["POST"]),
        Route("/ignore", ignore, methods=["POST"]),
        Route("/read-and-wait", read_and_wait, methods=["POST"]),
        Route("/collect", collect),
        Route("/record", record),
        Route("/request", seen_request),
        Route("/request/{rest:path}", seen_request),
        Route("/header", header),
        Route("/empty", empty),
        Route("/raise", failing),
        Route("/raise-after", failing_after),
        Route("/produce", produce),
        Route("/drip", drip),
        Route("/sleep", sleep),
        Route("/stubborn", stubborn),
        WebSocketRoute("/socket", socket),
    ],
)
