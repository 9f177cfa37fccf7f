"""Who takes which turn, and what each turn is sent: the same arrivals, images and slow times for every policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collage.bench._settings import BenchSettings, Straggler


class Turn(NamedTuple):
    """One policy's turn in one block of one cell."""

    straggler: Straggler
    load: float
    block: int
    policy: str

    @property
    def cell(self) -> tuple[Straggler, float]:
        """What the turn is measured under."""
        return self.straggler, self.load


class Traffic(NamedTuple):
    """What a turn is sent. arrivals: float64 (n,), seconds from its start, rising. images: int64 (n,), indices."""

    arrivals: NDArray[np.float64]
    images: NDArray[np.int64]


def turns(settings: BenchSettings) -> Iterator[Turn]:
    """All turns in the order they are run.

    Blocks come outermost, so that a run that was stopped has every cell, and policies take turns within a block, each
    block starting with the next one, so that no policy has the machine's good hour to itself.
    """
    for block in range(settings.blocks):
        first = block % len(settings.policies)
        order = settings.policies[first:] + settings.policies[:first]
        for straggler in settings.stragglers:
            for load in settings.loads:
                for policy in order:
                    yield Turn(straggler, load, block, policy)


def generator(settings: BenchSettings, turn: Turn, purpose: str) -> np.random.Generator:
    """A generator of its own for each purpose. It does not depend on the policy: common random numbers."""
    words = [settings.seed, round(turn.load * 1000), turn.block, *f"{turn.straggler}/{purpose}".encode()]
    return np.random.default_rng(words)


def traffic(settings: BenchSettings, turn: Turn, images: int) -> Traffic:
    """Poisson arrivals, warm-up first, each of one of `images` images."""
    count = settings.warmup + settings.requests
    gaps = generator(settings, turn, "arrivals").exponential(1 / settings.rate(*turn.cell), count)
    return Traffic(np.cumsum(gaps), generator(settings, turn, "images").integers(images, size=count))
