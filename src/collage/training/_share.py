"""The part of every batch that one process of a training takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Process `rank`, from 0, of `count`. All draw the same batches, and each makes its own part of them.

    So what is learnt from does not depend on how many processes there are, and a training goes on with another number.
    """

    rank: int = 0
    count: int = 1

    def part(self, size: int) -> slice:
        """Its own of `size` inputs: all parts together are all inputs, in order, and differ by one at most."""
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def weight(self, size: int) -> float:
        """Its part of `size` inputs, 0..1."""
        part = self.part(size)
        return len(range(size)[part]) / size

    def turns(self, steps: range) -> range:
        """Its own of some pieces of work of about one size."""
        return steps[self.rank :: self.count]


WHOLE = Share()
