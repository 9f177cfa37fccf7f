"""Which way should tensors travel between the gateway and its worker processes: a Unix socket, or shared memory?

    python scripts/measure_transport.py --out results/transport/transport.csv

Both ways have the same shape: an asyncio event loop on one side, a blocking process on the other, one socket pair
between them, one tensor under way, a 200-byte answer. `socket` writes header and tensor to the socket; `shared` copies
the tensor into a memory map that both processes hold and writes the header only. What the worker does with the tensor
(one pass over it) is the same. Ways are interleaved block by block, so that a busy machine is unfair to neither.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import mmap
import os
import platform
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {"1x28x28": 3_136, "1x84x84": 28_224, "3x224x224": 602_112, "3x416x416": 2_076_672}
HEADER = struct.Struct("<QQ")
ANSWER = 200


def worker(way: str, sock: socket.socket, memory_fd: int, size: int) -> None:
    """Answer every tensor with its sum, padded to ANSWER bytes, until the other side goes away."""
    tensor = np.empty(size // 4, np.float32)
    shared = np.frombuffer(mmap.mmap(memory_fd, size), np.float32)
    header = bytearray(HEADER.size)
    while receive(sock, memoryview(header)):
        if way == "socket":
            receive(sock, memoryview(tensor).cast("B"))
            total = tensor.sum()
        else:
            total = shared.sum()
        sock.sendall(struct.pack(f"<d{ANSWER - 8}x", float(total)))


def receive(sock: socket.socket, view: memoryview) -> bool:
    """Fill the view; False at the end of the stream."""
    while view:
        count = sock.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True


class Gateway(asyncio.Protocol):
    """The event loop's side of one worker."""

    def __init__(self) -> None:
        self.got = 0
        self.answered: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= ANSWER and self.answered is not None and not self.answered.done():
            self.got -= ANSWER
            self.answered.set_result(None)


async def measure(size: int, blocks: int, repeats: int) -> dict[str, tuple[list[float], float]]:
    """Seconds of every round trip, and the gateway's CPU seconds, by way."""
    loop = asyncio.get_running_loop()
    rng = np.random.default_rng(0)
    tensor = rng.random(size // 4, dtype=np.float32)
    seconds: dict[str, list[float]] = {"socket": [], "shared": []}
    cpu = dict.fromkeys(seconds, 0.0)
    with contextlib.ExitStack() as stack:
        ends = {}
        for way in seconds:
            here, there = socket.socketpair()
            memory = stack.enter_context(tempfile.TemporaryFile())
            os.ftruncate(memory.fileno(), size)
            fds = (there.fileno(), memory.fileno())
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--worker", way, *map(str, fds), "--size", str(size)], pass_fds=fds
                )
            )
            there.close()
            view = np.frombuffer(mmap.mmap(memory.fileno(), size), np.float32)
            here.setblocking(False)
            transport, protocol = await loop.create_unix_connection(Gateway, sock=here)
            stack.callback(transport.abort)
            ends[way] = (transport, protocol, view, child)
        for block in range(blocks + 1):  # the first warms up
            for way, (transport, protocol, view, _) in ends.items():
                before = time.process_time()
                for number in range(repeats):
                    began = time.perf_counter()
                    protocol.answered = loop.create_future()
                    transport.write(HEADER.pack(number, size))
                    if way == "socket":
                        transport.write(memoryview(tensor).cast("B"))
                    else:
                        view[:] = tensor
                    await protocol.answered
                    if block:
                        seconds[way].append(time.perf_counter() - began)
                if block:
                    cpu[way] += time.process_time() - before
        for transport, *_ in ends.values():
            transport.abort()
        await asyncio.sleep(0)
    return {way: (seconds[way], cpu[way]) for way in seconds}


def main() -> None:
    """Measure all sizes, print them and write them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--uvloop", action="store_true", help="use uvloop, as the gateway does")
    parser.add_argument("--worker", nargs=3, metavar=("WAY", "SOCKET_FD", "MEMORY_FD"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        way, sock, memory = options.worker
        worker(way, socket.socket(fileno=int(sock)), int(memory), options.size)
        return
    factory = None
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - optional here

        factory = uvloop.new_event_loop
    rows = []
    for shape, size in SIZES.items():
        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(measure(size, options.blocks, options.repeats))
        for way, (seconds, cpu) in result.items():
            p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
            rows.append(
                {
                    "loop": "uvloop" if options.uvloop else "asyncio",
                    "shape": shape,
                    "bytes": size,
                    "way": way,
                    "round_trip_p50_us": round(float(p50), 1),
                    "round_trip_p99_us": round(float(p99), 1),
                    "gateway_cpu_us": round(cpu / len(seconds) * 1e6, 1),
                    "repeats": len(seconds),
                    "machine": f"{platform.system()} {platform.machine()} {os.cpu_count()} CPUs",
                    "python": platform.python_version(),
                }
            )
            print(rows[-1])  # noqa: T201 - a script reports on stdout
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        new = not options.out.exists()
        with options.out.open("a", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            if new:
                table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
