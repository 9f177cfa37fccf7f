"""Workers that are servers elsewhere, behind links that can be slow: real ones, by the gateway's own `oip` engine.

Each is a process that speaks the Open Inference Protocol. Between the two is a proxy process, `_link_process.py`, which
delays what passes by as much as it is told: a kernel's own netem is not on every machine, and needs a superuser.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from collage.dispatch import JobId, Role, WorkerId
from collage.engines import (
    CancelEffect,
    EngineListener,
    FloatArray,
    Hold,
    OipEngine,
    OipServer,
    RemoteModel,
    Submission,
    TensorForm,
)
from collage.exceptions import ModelError
from collage.zoo import LoadedModel, open_session

_PROCESS = Path(__file__).with_name("_link_process.py")
_SERVER = Path(__file__).parent / "chaos" / "_remote_process.py"


class LinkedEngine:
    """Remote workers w0, w1, ...; what a job lasts at least, `hold`, is waited for here, its slot taken meanwhile."""

    cancel_effect = CancelEffect.NOTHING

    def __init__(self, models: Mapping[Role, LoadedModel], count: int) -> None:
        self.hold: Hold | None = None
        self._models, self._count = models, count
        self._listener: EngineListener | None = None
        self._servers: list[asyncio.subprocess.Process] = []
        self._links: asyncio.subprocess.Process | None = None
        self._oip: OipEngine | None = None
        self._there: dict[WorkerId, WorkerId] = {}  # our names, by the engine's
        self._up: dict[WorkerId, tuple[frozenset[Role], int]] = {}
        self._running: dict[JobId, tuple[WorkerId, float, float]] = {}  # began, and ends no sooner than
        self._held: dict[JobId, asyncio.TimerHandle] = {}

    @property
    def workers(self) -> dict[WorkerId, int | None]:
        """All workers, with their servers' process ids."""
        ids = dict(enumerate(server.pid for server in self._servers))
        return {f"w{number}": ids.get(number) for number in range(self._count)}

    async def start(self, listener: EngineListener) -> None:
        """Start servers and links; returns when all servers were ready. Raises ModelError where one never is."""
        self._listener = listener
        try:
            ports = await asyncio.gather(*(self._serve() for _ in range(self._count)))
            ends = await self._link(ports)
            models = {role: _remote(model) for role, model in self._models.items()}
            servers = [OipServer(f"http://127.0.0.1:{port}", models) for port in ends]
            self._there = {f"127.0.0.1:{port}": f"w{number}" for number, port in enumerate(ends)}
            self._oip = OipEngine(servers)
            await self._oip.start(self)
        except BaseException:
            await self.stop()
            raise

    def attach(self, listener: EngineListener) -> None:
        """Report to another listener from now on; it is told of every worker that is up."""
        self._listener = listener
        for worker, (roles, slots) in self._up.items():
            listener.worker_up(worker, roles, slots)

    def submit(self, job: Submission) -> None:
        """See Engine."""
        assert self._oip is not None
        now = asyncio.get_running_loop().time()
        hold = self.hold(job.worker, job.role) if self.hold else 0.0
        self._running[job.job] = (job.worker, now, now + hold)
        name = next(theirs for theirs, ours in self._there.items() if ours == job.worker)
        self._oip.submit(job._replace(worker=name))

    def cancel(self, job: JobId) -> None:
        """Does nothing: what runs elsewhere runs on."""

    async def stop(self) -> None:
        """End all processes. Idempotent."""
        if self._oip is not None:
            await self._oip.stop()
        self._oip = None
        processes = [*self._servers, *([self._links] if self._links is not None else [])]
        self._servers, self._links = [], None
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @contextmanager
    def slow(self, worker: WorkerId, seconds: float) -> Iterator[None]:
        """While inside, what passes the worker's link takes so much longer, each way."""
        self._tell(worker, seconds)
        try:
            yield
        finally:
            self._tell(worker, 0.0)

    def _tell(self, worker: WorkerId, seconds: float) -> None:
        if self._links is not None and self._links.stdin is not None:
            self._links.stdin.write(f"{worker[1:]} {seconds}\n".encode())

    # What the servers' engine reports.

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        """See EngineListener."""
        name = self._there[worker]
        self._up[name] = (roles, slots)
        if self._listener is not None:
            self._listener.worker_up(name, roles, slots)

    def worker_down(self, worker: WorkerId, why: str) -> None:
        """See EngineListener."""
        name = self._there[worker]
        self._up.pop(name, None)
        for job in [job for job, (owner, *_) in self._running.items() if owner == name]:
            del self._running[job]
            if (timer := self._held.pop(job, None)) is not None:
                timer.cancel()
        if self._listener is not None:
            self._listener.worker_down(name, why)

    def job_completed(self, job: JobId, output: FloatArray, seconds: float) -> None:
        """See EngineListener."""
        loop = asyncio.get_running_loop()
        self._held[job] = loop.call_at(self._running[job][2], self._complete, job, output)

    def job_failed(self, job: JobId, why: str) -> None:
        """See EngineListener."""
        self._running.pop(job, None)
        if self._listener is not None:
            self._listener.job_failed(job, why)

    def job_freed(self, job: JobId) -> None:
        """See EngineListener."""
        self._running.pop(job, None)
        if self._listener is not None:
            self._listener.job_freed(job)

    def _complete(self, job: JobId, output: FloatArray) -> None:
        del self._held[job]
        _, began, _ = self._running.pop(job)
        if self._listener is not None:
            self._listener.job_completed(job, output, asyncio.get_running_loop().time() - began)

    # Processes.

    async def _serve(self) -> int:
        """Start a server; its port, once it is ready."""
        cards = [str(model.path.with_suffix(".json")) for model in self._models.values()]
        server = await _start(_SERVER, ["0", "0.0", *cards], stdin=asyncio.subprocess.DEVNULL)
        self._servers.append(server)
        return int(await _said(server, "a remote server"))

    async def _link(self, ports: Sequence[int]) -> list[int]:
        self._links = await _start(_PROCESS, [str(port) for port in ports], stdin=asyncio.subprocess.PIPE)
        return [int(port) for port in json.loads(await _said(self._links, "the links"))]


def _remote(model: LoadedModel) -> RemoteModel:
    session = open_session(model.path)
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name
    return RemoteModel(model.card.name, None, TensorForm(input_name, None), TensorForm(output_name, None))


async def _start(file: Path, arguments: Sequence[str], *, stdin: int | IO[bytes]) -> asyncio.subprocess.Process:
    command = [sys.executable, "-P", str(file), *arguments]
    return await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=asyncio.subprocess.PIPE)


async def _said(process: asyncio.subprocess.Process, what: str) -> str:
    """Its first line. Raises ModelError where it ends without one."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ModelError(f"{what} did not start: what it said is above")
    return line.decode()
