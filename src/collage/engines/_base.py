"""The border between the dispatcher's driver and whatever runs models.

An engine starts and supervises workers, runs one job at a time per slot, and reports by calling its listener. All
calls, both ways, are made on the event loop's thread; none blocks, and no listener is called from within `submit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import JobId, Role, WorkerId

FloatArray = NDArray[np.float32]


class CancelEffect(StrEnum):
    """What cancelling a running job does."""

    NOTHING = "nothing"  # it runs to its end; the slot is taken until then
    COOPERATIVE = "cooperative"  # it stops soon and the slot is free
    KILL = "kill"  # the worker is killed and restarted: frees the slot at a restart's cost


class Submission(NamedTuple):
    """A job, as an engine is given it.

    inputs: (1, C, H, W), of several singles that share a job (n, C, H, W); float32, already normalised. capacity: which
    model, where the worker has several sizes for a role. headers: to go with the job where it leaves for a server
    elsewhere (HTTP headers, gRPC metadata), with names in lower case, all of it printable ASCII; other workers do not
    mind them.
    """

    job: JobId
    worker: WorkerId
    role: Role
    inputs: FloatArray
    capacity: int = 1
    headers: Mapping[str, str] | None = None


class EngineListener(Protocol):
    """What an engine tells its owner."""

    def worker_up(self, worker: WorkerId, roles: frozenset[Role], slots: int) -> None:
        """The worker is ready for jobs (first start, restart or reconnect)."""

    def worker_down(self, worker: WorkerId, why: str) -> None:
        """The worker is gone. Its running jobs are lost; no job_* call follows for them."""

    def job_completed(self, job: JobId, output: FloatArray, seconds: float) -> None:
        """The job's model output, first axis as the model gives it, and its time on the worker."""

    def job_failed(self, job: JobId, why: str) -> None:
        """The worker lives but the job gave no usable output."""

    def job_freed(self, job: JobId) -> None:
        """A cancelled job has stopped without output and its slot is free."""


class Engine(Protocol):
    """Runs jobs on workers."""

    cancel_effect: CancelEffect

    @property
    def workers(self) -> Mapping[WorkerId, int | None]:
        """All workers, there or not, with the process id of those that are processes here."""

    async def start(self, listener: EngineListener) -> None:
        """Start the workers; returns when all had their chance to come up.

        Raises ModelError where no worker could load its models.
        """

    def submit(self, job: Submission) -> None:
        """Run the worker's model for the job's role on its inputs. A worker that is down fails the job.

        Raises ValueError for what can never run: an unknown worker, a role it does not have, inputs of another form.
        """

    def cancel(self, job: JobId) -> None:
        """Nobody needs the job any more; what follows is `cancel_effect`."""

    async def stop(self) -> None:
        """Stop all workers and free everything. Idempotent."""


@runtime_checkable
class ElasticEngine(Engine, Protocol):
    """An engine whose workers may join and leave while it runs."""

    def add(self, worker: WorkerId, roles: frozenset[Role]) -> None:
        """Start another worker; `worker_up` follows once it is ready. Called after `start`.

        Raises ValueError for a name in use, or roles without a model.
        """

    def remove(self, worker: WorkerId) -> None:
        """Stop a `removable` worker for good; `worker_down` is called at once if it was up, and what it ran is lost.

        Raises ValueError for a worker that is not there, or not removable.
        """

    def removable(self, worker: WorkerId) -> bool:
        """Whether the worker is there and was started by this engine, so that it can be stopped."""
