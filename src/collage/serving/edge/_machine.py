"""What goes up a thin link, in which order, and which answer is given. No I/O, clock or pixels: events in, actions out.

Beside a thin link what is scarce is bytes, not workers, and a collage may go first: so this is no policy of the
dispatcher's. The relay drives it with sockets, and the simulation with a modelled link.

    1. Every query gets exactly one outcome: `Answer` or `Refuse`.
    2. Full images go in the order in which they were wanted, `uploads` at a time; one whose query has its outcome by
       then does not go at all.
    3. A collage goes when a group is full, or its oldest query has waited for `window`, one collage at a time.
    4. `all`: full images only. `beside`: a full image at once, and a tile beside it, which answers once the query is
       older than `patience`, or its full image got no answer. `collage-first`: a tile, which answers where its
       confidence reaches `threshold`; a full image only where it does not, or the tile is lost or unknown.
    5. At its deadline a query is answered by its tile, however unsure, else refused.
    6. A query that refuses degraded answers is in no collage.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from collage.dispatch import Outcome

_NEVER = float("inf")


class Mode(StrEnum):
    """What an edge sends."""

    ALL = "all"
    BESIDE = "beside"
    FIRST = "collage-first"


class SendFull(NamedTuple):
    """Send this query's full image; `full_ended` follows."""

    query: int


class SendCanvas(NamedTuple):
    """Send these queries' tiles in one picture, in this order; `canvas_ended` follows."""

    canvas: int
    queries: tuple[int, ...]


class Answer(NamedTuple):
    """The query's outcome: what came of its full image, or of its tile."""

    query: int
    by_tile: bool


class Refuse(NamedTuple):
    """Or this: "deadline", or "uplink": nothing that was sent for it got an answer."""

    query: int
    why: str


Action = SendFull | SendCanvas | Answer | Refuse


class _Way(StrEnum):
    """Where a full image, or a tile, is."""

    UNWANTED = "unwanted"
    WAITING = "waiting"
    SENT = "sent"
    THERE = "there"  # its answer is
    LOST = "lost"  # no usable answer came


_ENDED = (_Way.THERE, _Way.LOST)


@dataclass(eq=False, slots=True)
class _Query:
    id: int
    came: float
    deadline: float
    accept_degraded: bool
    full: _Way = _Way.UNWANTED
    tile: _Way = _Way.UNWANTED
    confidence: float = 0.0


class EdgeMachine:
    """Times are seconds on one clock that never goes back. capacity: tiles of a collage. The rest is as above."""

    def __init__(
        self,
        mode: Mode,
        *,
        capacity: int = 9,
        window: float = 0.1,
        patience: float = 1.0,
        threshold: float = 0.9,
        uploads: int = 2,
    ) -> None:
        self.mode = mode
        self._capacity, self._window, self._patience = capacity, window, patience
        self._threshold, self._uploads = threshold, uploads
        self._open: dict[int, _Query] = {}
        self._fulls: deque[_Query] = deque()
        self._sending: dict[int, _Query] = {}
        self._tiles: deque[_Query] = deque()
        self._canvas: tuple[int, tuple[_Query, ...]] | None = None  # that is on its way
        self._canvases = 0
        self._due: list[tuple[float, int]] = []  # patience and deadlines
        self._now = 0.0
        self._out: list[Action] = []

    # Events.

    def submit(self, query: int, deadline: float | None, accept_degraded: bool, now: float) -> list[Action]:
        """A new query. Raises ValueError for an id that is in use."""
        if query in self._open:
            raise ValueError(f"query {query} is there already")
        new = self._open[query] = _Query(query, now, _NEVER if deadline is None else deadline, accept_degraded)
        tiled = accept_degraded and self.mode is not Mode.ALL
        if tiled:
            new.tile = _Way.WAITING
            self._tiles.append(new)
        if not tiled or self.mode is Mode.BESIDE:
            self._want_full(new)
        if deadline is not None:
            heapq.heappush(self._due, (deadline, query))
        if tiled and self.mode is Mode.BESIDE:
            heapq.heappush(self._due, (now + self._patience, query))
        return self._go_on(now)

    def full_ended(self, query: int, answered: bool, now: float) -> list[Action]:
        """A full image's answer is there, or will not come."""
        sent = self._sending.pop(query, None)
        if sent is not None:
            sent.full = _Way.THERE if answered else _Way.LOST
            self._look(sent, now)
        return self._go_on(now)

    def canvas_ended(self, canvas: int, outcomes: Sequence[Outcome] | None, now: float) -> list[Action]:
        """A collage's answer is there, one outcome for each query of it, or (None) will not come."""
        if self._canvas is not None and self._canvas[0] == canvas:
            queries, self._canvas = self._canvas[1], None
            for position, query in enumerate(queries):
                known = outcomes is not None and outcomes[position].known
                query.tile = _Way.THERE if known else _Way.LOST
                if known and outcomes is not None:
                    query.confidence = outcomes[position].confidence
                self._look(query, now)
        return self._go_on(now)

    def cancelled(self, query: int, now: float) -> list[Action]:
        """Nobody waits for it any more."""
        self._open.pop(query, None)
        return self._go_on(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._go_on(now)

    @property
    def next_tick(self) -> float | None:
        """When `tick` should be called, if nothing happens before; None: need not."""
        while self._due and self._due[0][1] not in self._open:
            heapq.heappop(self._due)
        when = self._due[0][0] if self._due else _NEVER
        if self._tiles and self._canvas is None:
            when = min(when, self._tiles[0].came + self._window)
        return None if when == _NEVER else max(when, self._now)

    # After every event.

    def _go_on(self, now: float) -> list[Action]:
        self._now = now
        while self._due and self._due[0][0] <= now:
            query = self._open.get(heapq.heappop(self._due)[1])
            if query is not None:
                self._look(query, now)
        while self._fulls and len(self._sending) < self._uploads:
            query = self._fulls.popleft()
            if query.id in self._open:
                query.full = _Way.SENT
                self._sending[query.id] = query
                self._out.append(SendFull(query.id))
        self._collage(now)
        out, self._out = self._out, []
        return out

    def _collage(self, now: float) -> None:
        tiles = self._tiles
        while tiles and tiles[0].id not in self._open:
            tiles.popleft()
        if self._canvas is not None or not tiles:
            return
        if len(tiles) < self._capacity and now < tiles[0].came + self._window:
            return
        group: list[_Query] = []
        while tiles and len(group) < self._capacity:
            query = tiles.popleft()
            if query.id in self._open:
                query.tile = _Way.SENT
                group.append(query)
        self._canvases += 1
        self._canvas = self._canvases, tuple(group)
        self._out.append(SendCanvas(self._canvases, tuple(query.id for query in group)))

    def _want_full(self, query: _Query) -> None:
        query.full = _Way.WAITING
        self._fulls.append(query)

    def _look(self, query: _Query, now: float) -> None:
        """Whether it can have its outcome."""
        if query.id not in self._open:
            return
        if query.full is _Way.THERE:
            self._close(query, Answer(query.id, by_tile=False))
        elif query.tile is _Way.THERE and self._tile_counts(query, now):
            self._close(query, Answer(query.id, by_tile=True))
        elif now >= query.deadline:
            self._close(query, Refuse(query.id, "deadline"))
        elif query.tile in _ENDED and query.full is _Way.UNWANTED:
            self._want_full(query)
        elif query.full is _Way.LOST and query.tile in (_Way.UNWANTED, _Way.LOST):
            self._close(query, Refuse(query.id, "uplink"))

    def _tile_counts(self, query: _Query, now: float) -> bool:
        if query.full is _Way.LOST or now >= query.deadline:
            return True
        if self.mode is Mode.FIRST:
            return query.confidence >= self._threshold
        return now >= query.came + self._patience

    def _close(self, query: _Query, action: Action) -> None:
        del self._open[query.id]
        self._out.append(action)
