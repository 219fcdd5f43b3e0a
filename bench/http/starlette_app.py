"""The SHA-256 of an upload, by Starlette."""

import hashlib

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def digest(request):
    state = hashlib.sha256()
    async for data in request.stream():
        state.update(data)
    return PlainTextResponse(state.hexdigest())


app = Starlette(routes=[Route("/", digest, methods=["POST"])])
