"""The Python side of the example: an asyncio handler that stores what is uploaded.

Nothing here knows of threads or of Erlang, but for the body, which erlang.aio awaits, and
one message when the reading begins.
"""

import asyncio
import hashlib
import json
from typing import Any

import erlang
from erlang import aio

#: Rows that are parsed and not yet saved; while so many are, the body is left unread.
MOST_ROWS = 100


async def receive(body: erlang.PyBuffer, rows: asyncio.Queue[Any]) -> str:
    """Parses the lines of the body as they arrive; returns the SHA-256 of all of it."""
    digest = hashlib.sha256()
    async for line in aio.reader(body):
        digest.update(line)
        await rows.put(json.loads(line))
    await rows.put(None)
    return digest.hexdigest()


async def save(rows: asyncio.Queue[Any]) -> int:
    """Saves row by row, and returns how many there were."""
    saved = 0
    while await rows.get() is not None:
        await asyncio.sleep(0)  # stands for a database, for which one waits as well
        saved += 1
    return saved


async def upload(
    body: erlang.PyBuffer, seconds: float, listener: erlang.Pid
) -> dict[str, Any]:
    """Receives and saves at the same time.  A body must be there within `seconds`."""
    rows: asyncio.Queue[Any] = asyncio.Queue(MOST_ROWS)
    answer: dict[str, Any] = {}
    erlang.send(listener, "reading")
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            received = group.create_task(receive(body, rows))
            saved = group.create_task(save(rows))
        answer = {"status": 201, "rows": saved.result(), "sha256": received.result()}
    except* erlang.BufferAborted as group_of_errors:
        reason = group_of_errors.exceptions[0]
        answer = {"status": 400, "why": str(reason)}
    except* TimeoutError:
        answer = {"status": 408, "why": f"not there after {seconds} s"}
    except* ValueError as group_of_errors:
        answer = {"status": 422, "why": str(group_of_errors.exceptions[0])}
    finally:
        # What still writes is told; what is unread is freed with the buffer.
        body.close()
    return answer
