"""What the tests share that run on asyncio's loop and on uvloop."""

import asyncio

import pytest

KINDS = ["asyncio", "uvloop"]
kind_of_loop = None


@pytest.fixture(autouse=True, params=KINDS)
def on_each_kind_of_loop(request):
    """For every test of a module that imports it."""
    global kind_of_loop
    kind_of_loop = request.param
    if kind_of_loop == "uvloop":
        pytest.importorskip("uvloop")


def new_loop():
    if kind_of_loop == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def run(main, *args):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(asyncio.wait_for(main(*args), 50))


async def settle():
    """Until what has been told is done: the selector, the callback, the task, its end."""
    for _ in range(6):
        await asyncio.sleep(0)
