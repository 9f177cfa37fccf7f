"""Every request that was sent, and what became of it."""

from __future__ import annotations

import asyncio
import time
from enum import IntEnum

import numpy as np
import orjson
from numpy.typing import NDArray

from collage.bench._http import ConnectionCut, HttpPool, post
from collage.bench.chaos._identity import label_of, number_of, png


class Outcome(IntEnum):
    """What a client got for one query."""

    PENDING = 0
    ANSWERED = 1
    REFUSED = 2  # 503, or no connection: told at once that it is for another server
    LATE = 3  # 504: told that there is no answer within the deadline
    SWAPPED = 4  # an answer, but another image's
    LOST = 5  # anything else: cut off, silent, another status, no JSON


class Ledger:
    """A row for each query of a load. Event loop's thread only.

    deadline: what clients ask for, seconds; one that has not heard by twice that and 5 s more has been lost.
    """

    def __init__(self, count: int, pool: HttpPool, *, deadline: float, first: int = 0) -> None:
        self.outcomes: NDArray[np.int8] = np.zeros(count, np.int8)
        self.degraded: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.seconds: NDArray[np.float64] = np.full(count, np.nan)  # from its sending to its end
        self.resent = 0  # requests whose kept connection had just been closed: sent once more, as HTTP allows
        self.troubles: dict[str, int] = {}  # why requests were lost
        self._pool = pool
        self._first = first
        self._seconds = 2 * deadline + 5
        self._path = f"/v1/classify?top=1&deadline_ms={deadline * 1e3:g}"
        self._requests: dict[int, bytes] = {}

    def count(self, outcome: Outcome) -> int:
        """Queries with this outcome."""
        return int((self.outcomes == outcome).sum())

    async def send(self, index: int) -> bool:
        """One query, by its place in the load. Whether it was answered."""
        began = time.monotonic()
        outcome = await self._ask(index)
        self.outcomes[index] = outcome
        self.seconds[index] = time.monotonic() - began
        return outcome is Outcome.ANSWERED

    async def _ask(self, index: int) -> Outcome:
        number = number_of(self._first + index)
        request = self._requests.get(number)
        if request is None:
            request = self._requests[number] = post(self._path, png(number), "chaos")
        for last in (False, True):
            try:
                answer = await self._pool.ask(request, seconds=self._seconds)
                break
            except ConnectionCut as cut:
                if cut.begun or last:
                    return self._lose(str(cut))
                self.resent += 1
            except ConnectionRefusedError:
                return Outcome.REFUSED
            except (TimeoutError, OSError, ValueError) as error:
                return self._lose(f"{type(error).__name__} {error}")
        if answer.status != 200:
            known = {503: Outcome.REFUSED, 504: Outcome.LATE}.get(answer.status)
            return self._lose(f"status {answer.status}") if known is None else known
        try:
            said = orjson.loads(answer.body)
            label, self.degraded[index] = said["label"], said["degraded"]
        except (ValueError, KeyError, TypeError):
            return self._lose("an answer that is none")
        return Outcome.ANSWERED if label == label_of(number) else Outcome.SWAPPED

    def _lose(self, why: str) -> Outcome:
        why = why.strip()[:80]
        self.troubles[why] = self.troubles.get(why, 0) + 1
        return Outcome.LOST


async def until(began: float, seconds: float) -> None:
    """Sleep until so many seconds after `began`, on the monotonic clock."""
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
