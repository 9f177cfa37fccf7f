"""What the gateway and a worker process say to each other: frames over a socket pair, tensors in shared memory.

    gateway -> worker   RUN      the input lies in shared memory; hold: the least time the job takes, seconds
    worker -> gateway   READY    all models are loaded
                        BROKEN   they cannot be loaded; the payload says why, and the worker ends
                        DONE     the output is the payload, float32; seconds: the job's time on the worker
                        FAILED   the model refused the input; the payload says why

A frame is a fixed header and a payload. The gateway's own counter numbers the jobs, so an answer that belongs to an
earlier owner's job can never pass for a new one's. Whatever does not parse is a `WireError`, and costs the worker its
life: after garbage there is no telling where the next frame begins.

Inputs travel in shared memory because it was measured to be better where it matters (`results/transport/`, made by
`scripts/measure_transport.py`): at 600 KB a job costs the gateway 36 us instead of 330 us of CPU, at 2 MB 96 us instead
of 375 us, and at 3 KB the two are equal. Outputs are small and stay on the socket.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

MAGIC = b"COL1"
MAX_DIMS = 8
MAX_PAYLOAD = 16 * 2**20  # bytes; an answer larger than this is garbage
MAX_INPUT = 256 * 2**20  # bytes
HEADER = struct.Struct("<4sBBBxQd8II")  # magic, kind, role, dimensions, job, seconds, shape, payload bytes


class Kind(IntEnum):
    """What a frame says."""

    RUN = 1
    READY = 2
    BROKEN = 3
    DONE = 4
    FAILED = 5


class Frame(NamedTuple):
    """One message. `role` counts in the order the worker was given its models."""

    kind: Kind
    job: int = 0
    role: int = 0
    seconds: float = 0.0
    shape: tuple[int, ...] = ()
    payload: bytes = b""

    def array(self) -> FloatArray:
        """The payload as an array of `shape`. Raises WireError where they do not fit."""
        if math.prod(self.shape) * 4 != len(self.payload):
            raise WireError(f"{len(self.payload)} bytes do not make a float32 array of shape {self.shape}")
        try:
            return np.frombuffer(self.payload, np.float32).reshape(self.shape)
        except ValueError:  # nothing, in a shape that no array can have
            raise WireError(f"no array has the shape {self.shape}") from None

    def text(self) -> str:
        """The payload as text, whatever it is."""
        return self.payload.decode(errors="replace")


class WireError(Exception):
    """Bytes that no honest peer sends."""


def pack(frame: Frame) -> bytes:
    """The frame's bytes. Raises WireError for a shape or payload over the limits."""
    if len(frame.shape) > MAX_DIMS or len(frame.payload) > MAX_PAYLOAD:
        raise WireError(f"shape {frame.shape} or {len(frame.payload)} bytes of payload are over the limits")
    shape = frame.shape + (0,) * (MAX_DIMS - len(frame.shape))
    head = HEADER.pack(
        MAGIC, frame.kind, frame.role, len(frame.shape), frame.job, frame.seconds, *shape, len(frame.payload)
    )
    return head + frame.payload


class Parser:
    """Bytes, in whatever pieces they come -> frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """The frames that these bytes complete. Raises WireError at the first that is none."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            magic, kind, role, dims, job, seconds, *shape, size = HEADER.unpack_from(self._buffer)
            if magic != MAGIC or dims > MAX_DIMS or size > MAX_PAYLOAD or not math.isfinite(seconds):
                raise WireError(f"no frame: it begins with {bytes(self._buffer[: HEADER.size]).hex()}")
            try:
                kind = Kind(kind)
            except ValueError:
                raise WireError(f"a frame of unknown kind {kind}") from None
            end = HEADER.size + size
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[HEADER.size : end])
            del self._buffer[:end]
            yield Frame(kind, job, role, seconds, tuple(shape[:dims]), payload)


class Window:
    """Shared memory for one input at a time. The gateway makes it and writes; the worker has its descriptor and reads.

    It grows on both sides when a larger input comes. It has no name: nothing is left behind however either side ends.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _memory_file() if fd is None else fd
        self._map: mmap.mmap | None = None

    def write(self, inputs: FloatArray) -> None:
        """Copy the inputs in. Raises ValueError for more than MAX_INPUT bytes."""
        if inputs.nbytes > MAX_INPUT:
            raise ValueError(f"an input of {inputs.nbytes} bytes is over the limit of {MAX_INPUT}")
        if self._map is None or len(self._map) < inputs.nbytes:
            size = max(1 << max(inputs.nbytes - 1, 1).bit_length(), mmap.PAGESIZE)
            os.ftruncate(self.fd, size)
            self._open(size)
        np.copyto(self._view(inputs.shape), inputs)

    def read(self, shape: tuple[int, ...]) -> FloatArray:
        """The inputs, in place: valid until the next job. Raises WireError where the memory is too small for them."""
        size = math.prod(shape) * 4
        if self._map is None or len(self._map) < size:
            self._open(os.fstat(self.fd).st_size)
        if self._map is None or len(self._map) < size:
            raise WireError(f"shared memory is too small for shape {shape}")
        return self._view(shape)

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _open(self, size: int) -> None:
        self._map = mmap.mmap(self.fd, size) if size else None  # views keep an older map alive while they are used

    def _view(self, shape: tuple[int, ...]) -> FloatArray:
        assert self._map is not None
        return np.frombuffer(self._map, np.float32, math.prod(shape)).reshape(shape)


def _memory_file() -> int:
    """A nameless file: in memory where the system can (Linux), else an unlinked temporary one (macOS)."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("collage-input")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
