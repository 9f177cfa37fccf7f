"""Links to servers that can be slow, in a process of their own: TCP, each way delayed by so much, as netem would do it.

    python -P _link_process.py TARGET_PORT...

Prints the ports of its own ends, one line of JSON. Then each line "INDEX SECONDS" on standard input sets what a link
delays by from then on, each way; at the end of the input, it ends. What a link carries is delayed: nothing is lost, and
nothing overtakes.
"""

from __future__ import annotations

import asyncio
import json
import sys

_CHUNK = 2**16


class Link:
    """One server's. delay: seconds each way, of what arrives from now on."""

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target

    async def open(self) -> asyncio.Server:
        """Listen at a free port."""
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is not there: nor is this end
            writer.transport.abort()
            return
        try:
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        finally:
            writer.close()
            back.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """One way: what came, and at last that its end came, each when its time has come."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._take(source, under_way))
        loop, data = asyncio.get_running_loop(), b"x"
        try:
            while data:
                when, data = await under_way.get()
                await asyncio.sleep(when - loop.time())
                if data:
                    sink.write(data)
                elif sink.can_write_eof():
                    sink.write_eof()  # the other way may have more to carry
        except OSError:
            sink.transport.abort()
        finally:
            arriving.cancel()

    async def _take(self, source: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, data = asyncio.get_running_loop(), b"x"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:  # broken off: as an end
                data = b""
            under_way.put_nowait((loop.time() + self.delay, data))


async def serve(targets: list[int]) -> None:
    """Until standard input ends."""
    links = [Link(target) for target in targets]
    servers = [await link.open() for link in links]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)  # noqa: T201
    told = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        index, seconds = line.split()
        links[int(index)].delay = float(seconds)


if __name__ == "__main__":
    asyncio.run(serve([int(argument) for argument in sys.argv[1:]]))
