"""One remote server across all its ups and downs: looked at for readiness, given jobs, heard."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from collage.dispatch import JobId, Role, WorkerId
from collage.engines._base import EngineListener, FloatArray, Submission
from collage.engines._oip_options import OipOptions
from collage.engines._oip_transport import RemoteFault, Transport
from collage.engines._oip_wire import RemoteModel

_log = logging.getLogger(__name__)

_LOOK_APART = 0.05  # seconds, at least, between looks that failed calls ask for


@dataclass(eq=False, slots=True)
class _Call:
    """One request on its way. A job that is cancelled or lost is in it no more."""

    worker: WorkerId
    jobs: dict[JobId, int]  # with their rows of the batch
    headers: Mapping[str, str] | None = None
    shared: bool = False
    task: asyncio.Task[None] | None = None


class RemoteServer:
    """One URL: a worker with slots, or several workers of one slot each. Event loop's thread only."""

    def __init__(
        self,
        workers: Mapping[WorkerId, int],
        models: Mapping[Role, RemoteModel],
        options: OipOptions,
        connect: Callable[[], Transport],
    ) -> None:
        self.workers = dict(workers)  # with their slots
        self.models = dict(models)
        self.tried = asyncio.Event()  # looked at once
        self.ready: frozenset[Role] = frozenset()
        self.trouble: dict[Role, str] = {}  # why a role is not ready
        self._options = options
        self._connect = connect
        self._transport: Transport | None = None
        self._listener: EngineListener | None = None
        self._calls: dict[JobId, _Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gathering: list[Submission] = []  # singles of this moment, which may share a call
        self._look_now = asyncio.Event()
        self._unanswered = 0  # looks in a row
        self._prefix = secrets.token_hex(4)  # so that another client's request ids are not ours
        self._numbers = itertools.count(1)

    # Its readiness.

    async def watch(self, listener: EngineListener) -> None:
        """Look at the server for ever."""
        self._listener = listener
        self._transport = self._connect()
        try:
            while True:
                await self._look()
                self.tried.set()
                self._look_now.clear()
                try:
                    async with asyncio.timeout(self._options.probe_interval):
                        await self._look_now.wait()
                except TimeoutError:
                    continue
                # Many calls fail at once, and one look will do.
                await asyncio.sleep(min(_LOOK_APART, self._options.probe_interval))
        finally:
            self.tried.set()
            self._listener = None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._transport.close()

    async def _look(self) -> None:
        trouble: dict[Role, str] = {}
        for role, model in self.models.items():
            try:
                why = await self._why_not(role, model)
            except RemoteFault as fault:
                if fault.silent and self.ready and self._unanswered + 1 < self._options.probe_failures:
                    self._unanswered += 1  # it may only be busy
                    return
                trouble = dict.fromkeys(self.models, str(fault))
                break
            except Exception as error:  # of a library; whatever it is, the look has failed and the next may not
                _log.exception("worker %s: a look at it failed", self._name)
                trouble = dict.fromkeys(self.models, repr(error))
                break
            if why is not None:
                trouble[role] = why
        self._unanswered = 0
        self._settle(trouble)

    async def _why_not(self, role: Role, model: RemoteModel) -> str | None:
        assert self._transport is not None
        why = await self._transport.why_not_ready(model)
        if why is None and role not in self.ready:  # it may be another model than before
            why = await self._transport.why_unfit(model)
        return why

    def _settle(self, trouble: dict[Role, str]) -> None:
        """Tell the listener what has changed."""
        before, self.ready = self.ready, frozenset(self.models.keys() - trouble.keys())
        if trouble != self.trouble and trouble:
            why = "; ".join(f"{role}: {reason}" for role, reason in trouble.items())
            _log.warning("worker %s is %s: %s", self._name, "up in part" if self.ready else "down", why)
        self.trouble = trouble
        if self.ready == before or self._listener is None:
            return
        if self.ready:
            for worker, slots in self.workers.items():
                self._listener.worker_up(worker, self.ready, slots)
            return
        why = next(iter(trouble.values()))
        for task in self._tasks:
            task.cancel()
        self._calls.clear()
        self._gathering.clear()
        for worker in self.workers:
            self._listener.worker_down(worker, why)

    @property
    def _name(self) -> str:
        return next(iter(self.workers))

    # Its jobs.

    def submit(self, job: Submission) -> None:
        """Send a job. Raises ValueError for what can never run."""
        inputs = job.inputs
        if job.role not in self.models:
            raise ValueError(f"worker {job.worker} has no model for {job.role}")
        if inputs.dtype != np.float32 or inputs.ndim != 4:
            raise ValueError(f"inputs must be float32 (B, C, H, W), not {inputs.dtype} {inputs.shape}")
        loop = asyncio.get_running_loop()
        if job.role not in self.ready:
            # Later, so that the caller has heard of the worker's end, and has its own house in order, before this.
            loop.call_soon(self._fail, job.job, f"worker {job.worker} is down")
        elif job.role is Role.SINGLE and self._options.max_batch > 1 and len(inputs) == 1:
            if not self._gathering:
                loop.call_soon(self._send_gathered)
            self._gathering.append(job)
        else:
            self._send(_Call(job.worker, {job.job: 0}, job.headers), job.role, inputs)

    def cancel(self, job: JobId) -> None:
        """As the options say. A call that others share goes on for them; a job that is not here is not minded."""
        if self._options.cancel == "nothing":
            return
        call = self._calls.pop(job, None)
        if call is not None:
            del call.jobs[job]
            if not call.jobs and call.task is not None:
                call.task.cancel()
            asyncio.get_running_loop().call_soon(self._free, job)

    def _send_gathered(self) -> None:
        """What has come since the loop was last idle, in as few calls as may be. Nobody waits for others to come."""
        gathered, self._gathering = self._gathering, []
        for first in range(0, len(gathered), self._options.max_batch):
            part = gathered[first : first + self._options.max_batch]
            headers = next((job.headers for job in part if job.headers is not None), None)
            call = _Call(part[0].worker, {job.job: row for row, job in enumerate(part)}, headers, len(part) > 1)
            self._send(call, Role.SINGLE, np.concatenate([job.inputs for job in part]))

    def _send(self, call: _Call, role: Role, inputs: FloatArray) -> None:
        self._calls.update(dict.fromkeys(call.jobs, call))
        task = call.task = asyncio.create_task(self._run(call, role, inputs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: _Call, role: Role, inputs: FloatArray) -> None:
        began = time.monotonic()  # uvloop's own clock counts whole milliseconds
        assert self._transport is not None
        output: FloatArray | None = None
        why = ""
        try:
            request_id = f"{self._prefix}-{next(self._numbers)}"
            output = await self._transport.infer(self.models[role], request_id, inputs, call.headers)
        except RemoteFault as fault:
            why = str(fault)
            if fault.gone:
                self._look_now.set()
        except Exception as error:  # of a library; it must not cost the queries their answers
            _log.exception("worker %s: a call failed", call.worker)
            why = repr(error)
        if output is not None and call.shared and output.shape[0] != len(inputs):
            why, output = f"{output.shape[0]} rows for {len(inputs)} singles that shared a call", None
        for job, row in list(call.jobs.items()):
            if self._calls.pop(job, None) is None or self._listener is None:
                continue  # lost with its worker
            if output is None:
                self._listener.job_failed(job, why)
            else:
                own = output[row : row + 1] if call.shared else output
                self._listener.job_completed(job, own, time.monotonic() - began)

    def _fail(self, job: JobId, why: str) -> None:
        if self._listener is not None:
            self._listener.job_failed(job, why)

    def _free(self, job: JobId) -> None:
        if self._listener is not None:
            self._listener.job_freed(job)
