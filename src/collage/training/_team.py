"""The processes that train one net together, by torch.distributed: `torchrun`, or `collage train --processes`.

Every process holds the whole net. A step's batch is drawn by all from the same random numbers, and each makes and goes
through its own part of it (`Share`); DistributedDataParallel averages the gradients, so that all nets stay the same.

Batch normalisation learns with the statistics of each process's own part (torch's SyncBatchNorm needs GPUs). The
running statistics, which are what serves, are averaged over the processes before anyone looks at them: they are linear
in those of each batch, so this is the same as averaging at every step. The variances lack what the parts' means differ
by.

Process 0 alone writes; the others read what it has written, so all need the same folder.
"""

from __future__ import annotations

import gc
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
import torch.distributed.nn  # now: imported later, it would hold the group that there is, for good
from torch import Tensor, nn

from collage.exceptions import ProcessLost, SettingsError
from collage.training._share import WHOLE, Share

LOST = 75  # exit status of a process under `run_processes` that ended because another had
SUPERVISED = "COLLAGE_TRAINING_SUPERVISED"  # set by `run_processes`

_ANSWER = timedelta(minutes=30)  # a process that is silent for longer in a step is lost
_WAIT = timedelta(days=7)  # for process 0, while it asks the single or measures


class Team:
    """This process and the others. Without any others, nothing here does anything."""

    def __init__(self, share: Share = WHOLE, local: int = 1) -> None:
        self.share = share
        self._local = local  # processes on this machine
        self._waiting: dist.ProcessGroup | None = None

    def meet(self) -> None:
        """Connect this process with the others, which do the same."""
        dist.init_process_group("gloo", timeout=_ANSWER)
        self._waiting = cast("dist.ProcessGroup", dist.new_group(timeout=_WAIT))

    def leave(self) -> None:
        """Let go of the others, and wait for the threads that spoke with them.

        Such a thread drops what it sent a moment after the answer is there. It needs the interpreter's lock for that,
        and aborts the process where it asks for it while the interpreter ends (issue 190489 of torch). The threads end
        with their group, and a group with the last that holds it.
        """
        if dist.is_initialized():
            dist.destroy_process_group()  # torch no longer holds any; this alone ends no thread
        self._waiting = None
        gc.collect()  # nets of `around` hold one too

    @property
    def first(self) -> bool:
        """Is this the process that writes?"""
        return self.share.rank == 0

    @property
    def threads(self) -> int:
        """Of this process, and of all others on its machine, where they have nothing to do."""
        return torch.get_num_threads() * self._local

    def around(self, net: nn.Module) -> nn.Module:
        """The net to call in training: its gradients are averaged over all; its weights begin as those of process 0."""
        if self.share.count == 1:
            return net
        wrap: Callable[..., nn.Module] = nn.parallel.DistributedDataParallel
        newer = "forward_sync_buffers" in inspect.signature(wrap).parameters  # the name in newer versions of torch
        # Each process keeps its own running statistics until `settle`.
        return wrap(net, **{"forward_sync_buffers" if newer else "broadcast_buffers": False})

    def loss_scale(self, size: int) -> float:
        """What to multiply the mean loss over this process's part of `size` inputs by.

        Gradients are averaged with equal weights, and the parts may differ by one input.
        """
        return self.share.weight(size) * self.share.count

    def sum(self, *values: float) -> tuple[float, ...]:
        """Of each over all processes, which get the same."""
        if self.share.count == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    @torch.no_grad()
    def settle(self, *nets: nn.Module) -> None:
        """Average the nets' running statistics over the processes, in place."""
        kept = [buffer for net in nets for buffer in net.buffers() if buffer.dtype.is_floating_point]
        if self.share.count == 1 or not kept:
            return
        flat = nn.utils.parameters_to_vector(kept)
        dist.all_reduce(flat)
        nn.utils.vector_to_parameters(flat / self.share.count, kept)

    def tell(self, say: Callable[[], str]) -> str:
        """What process 0 says; the others wait for it."""
        said = [say() if self.first else ""]
        if self.share.count > 1:
            dist.broadcast_object_list(said, group=self._waiting)
        return said[0]

    def gather(self, state: Tensor) -> Tensor:
        """The tensors of all processes (count, ...)."""
        if self.share.count == 1:
            return state.unsqueeze(0)
        found = [torch.empty_like(state) for _ in range(self.share.count)]
        dist.all_gather(found, state)
        return torch.stack(found)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Process 0 goes first, with all its machine's threads; then the others, who find what it has written."""
        if not self.first:
            dist.barrier(group=self._waiting)
        threads = torch.get_num_threads()
        if self.first:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
        if self.first and self.share.count > 1:
            dist.barrier(group=self._waiting)

    def must_see(self, path: Path) -> None:
        """In its turn. Raises SettingsError where this process does not see what process 0 has written."""
        if not self.first and not path.exists():
            raise SettingsError(
                f"{path.parent}: process {self.share.rank} does not see what process 0 has written there: give a folder"
                " that all machines share"
            )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raises ProcessLost where another process is gone."""
        try:
            yield
        except RuntimeError as error:
            if self.share.count == 1 or not _is_lost(error):
                raise
            raise ProcessLost(
                f"process {self.share.rank} of {self.share.count}: another process of this training is gone; the same"
                f" command goes on from the last checkpoint ({str(error).splitlines()[0][:120]})"
            ) from error


ALONE = Team()


def _is_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(
        word in str(error) for word in ("gloo", "Connection", "Broken pipe", "Timed out", "reset by peer")
    )


def in_team() -> bool:
    """Has this process been started as one of several?"""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join_team() -> Iterator[Team]:
    """The team that the environment tells of, as torchrun and `run_processes` set it; else this process alone.

    Raises ProcessLost where another process is gone; under `run_processes`, which says so itself, exits instead.
    """
    if not in_team():
        yield ALONE
        return
    supervised = SUPERVISED in os.environ
    if supervised:
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
    share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    team = Team(share, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        with team.watching():
            team.meet()
            yield team
    except ProcessLost:
        if supervised:
            raise SystemExit(LOST) from None
        raise
    finally:
        team.leave()


def _end_with_supervisor() -> None:
    """The supervisor holds the other end of standard input: its death ends this process as Ctrl-C would."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
