"""asyncio_echo.py LOOP PORT: an echo server of asyncio, or of uvloop, on 127.0.0.1.

Its protocol also runs in erlpy's reactor.  TCP_NODELAY is the default of both loops.
"""

import asyncio
import sys

BACKLOG = 1024


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def serve(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    loop, port = sys.argv[1:]
    if loop == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(serve(int(port)))


if __name__ == "__main__":
    main()
