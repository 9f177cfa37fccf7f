"""What the first page shows of this moment, as one JSON object: workers, latencies, sources, and the last collage."""

from __future__ import annotations

import itertools
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collage.dispatch import Role, Source, WorkerId, WorkerView
from collage.engines import LocalEngine, MixedEngine
from collage.exceptions import InvalidInput
from collage.serving._window import AnswerWindow

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
    from collage.serving._inputs import Classified
    from collage.serving._seen import CollageSeen, TileSeen
    from collage.serving._settings import ServingSettings

_FRESH_SECONDS = 0.25  # a status is good for so long, however many look at the page
_USED_SECONDS = (
    3.0  # a collage whose answers were used is worth a look: it stays so long, unless another such one comes
)
_PICTURES = 4  # that were shown last, kept for whoever asks for the picture a moment after the status
_STRAGGLE_SECONDS = 10.0
_STRAGGLE_TIMES = 15.0  # a straggler's job takes so many times the usual latency,
_STRAGGLE_LEAST, _STRAGGLE_MOST = 0.5, 2.0  # within these, seconds

_TROUBLED = ("pausing", "silent")  # states of the dispatcher's that say more than that a worker is up

_VERSIONS = itertools.count(1)  # of collages, of all models: no two of them are taken for one

FloatArray = NDArray[np.float32]


class Status:
    """Watches one data plane. Event loop's thread only."""

    def __init__(self, plane: DataPlane, settings: ServingSettings) -> None:
        self._plane = plane
        self._settings = settings
        self._window = AnswerWindow()
        self._collage: CollageSeen | None = None
        self._collage_at = 0.0
        self._collage_version = 0
        self._pictures: OrderedDict[int, FloatArray] = OrderedDict()  # by version
        self._straggling: dict[WorkerId, float] = {}  # until when
        self._kept: dict[str, Any] = {}
        self._kept_at = -_FRESH_SECONDS
        plane.on_answered.append(self._answered)
        if settings.collages_shown:
            plane.on_collage.append(self._collage_came)

    def canvas(self, version: int | None = None) -> FloatArray | None:
        """A collage as its model saw it, normalised (C, H, W): that of a recent status, or the last; None: none yet."""
        if version is not None and version in self._pictures:
            return self._pictures[version]
        return None if self._collage is None else self._collage.canvas

    def _answered(self, answer: Classified) -> None:
        self._window.add(time.monotonic(), answer.seconds, answer.source)

    def _collage_came(self, seen: CollageSeen) -> None:
        """Called when a collage is back, and again whenever one of its answers is given."""
        now, shown = time.monotonic(), self._collage
        if shown is not None and seen.job != shown.job:
            if seen.job < shown.job:
                return
            if _used(shown) and not _used(seen) and now - self._collage_at < _USED_SECONDS:
                return
        if shown is None or seen.job != shown.job:
            self._collage_at = now
        self._collage = seen
        self._collage_version = next(_VERSIONS)

    def read(self) -> dict[str, Any]:
        """What /v1/status says."""
        now = time.monotonic()
        if now - self._kept_at >= _FRESH_SECONDS:
            self._kept, self._kept_at = self._take(now), now
        return self._kept

    def straggle(self, worker: WorkerId | None) -> dict[str, Any]:
        """Make a worker (None: the first that is up) slow for a while. Raises InvalidInput for an unknown worker."""
        now = time.monotonic()
        p50 = self._window.summary(now)["latency"]["p50"] or 0.0
        seconds = min(max(_STRAGGLE_TIMES * p50, _STRAGGLE_LEAST), _STRAGGLE_MOST)
        engine = self._plane.engine
        if not isinstance(engine, LocalEngine | MixedEngine):
            raise InvalidInput("only local workers can be made to straggle", field="worker")
        there = {seen.worker for seen in self._plane.view().workers}
        up = [name for name, pid in engine.workers.items() if pid is not None and name in there]
        if worker is None and up:
            worker = up[0]
        if worker not in up:
            raise InvalidInput(f"{str(worker)[:40]!r} is no local worker that is up", field="worker")
        engine.straggle(worker, seconds, _STRAGGLE_SECONDS)
        self._straggling[worker] = now + _STRAGGLE_SECONDS
        self._kept_at = -_FRESH_SECONDS  # the next look shows it
        return {"worker": worker, "seconds_per_job": seconds, "for_seconds": _STRAGGLE_SECONDS}

    def _take(self, now: float) -> dict[str, Any]:
        plane, stats, agreement = self._plane, self._plane.dispatcher.stats, self._plane.agreement
        view = plane.view()
        return {
            "ready": plane.ready,
            "demo": self._settings.demo,
            "single": plane.single.card.name,
            "backup": None if plane.backup is None else plane.backup.card.name,
            "policy": self._settings.policy,
            **self._window.summary(now),  # window, latency, rate, recent
            "in_flight": plane.in_flight,
            "queued": view.waiting,
            "sources": {source.value: stats.answered[source] for source in Source if stats.answered[source]},
            "backups_sent": stats.backups_sent,
            "backups_won": stats.backups_won,
            "extra_work": stats.extra_work,
            "agreement": agreement.agreed / agreement.compared if agreement.compared else None,
            "agreement_recent": agreement.recent,
            "backup_off": agreement.backup_off,
            "collage": self._last_collage(now),
            "agreement_least": agreement.least,
            "agreement_compared": agreement.compared,
            "budget": plane.policy.budget,
            "patience": view.patience,
            "backups_paused": view.paused,
            "workers": self._workers({seen.worker: seen for seen in view.workers}, now),
            "scaling": self._scaling(),
        }

    def _scaling(self) -> dict[str, Any] | None:
        """How many workers there are to be, where they follow the load. demand: workers that it keeps busy."""
        scaler = self._plane.autoscaler
        if scaler is None:
            return None
        return {
            "min": scaler.scaling.least,
            "max": scaler.scaling.most,
            "target_utilisation": scaler.scaling.target,
            "demand": scaler.demand,
        }

    def _workers(self, seen: dict[WorkerId, WorkerView], now: float) -> list[dict[str, Any]]:
        engine = self._plane.engine
        return [self._worker(name, seen.get(name), now) for name in engine.workers]

    def _worker(self, name: WorkerId, seen: WorkerView | None, now: float) -> dict[str, Any]:
        """slowness: its recent singles' time over what is usual."""
        roster, failure = self._plane.roster, self._plane.failures.get(name)
        state = "starting" if roster is None else roster.state(name)
        if state == "up" and seen is not None and seen.state in _TROUBLED:
            state = seen.state
        return {
            "id": name,
            "state": state,
            "roles": [] if seen is None else [role.value for role in Role if role in seen.roles],
            "running": [source.value for source in self._plane.running(name)],
            "slowness": 1 / seen.speed if seen is not None and seen.speed else None,
            "done": 0 if seen is None else seen.done,
            "failed": 0 if seen is None else seen.failed,
            "last_failure": None if failure is None else {"ago": round(now - failure[0], 1), "why": failure[1]},
            "straggling_for": max(0.0, round(self._straggling.get(name, now) - now, 1)),
        }

    def _last_collage(self, now: float) -> dict[str, Any] | None:
        seen, backup = self._collage, self._plane.backup
        if seen is None or backup is None:
            return None
        self._pictures[self._collage_version] = seen.canvas
        while len(self._pictures) > _PICTURES:
            self._pictures.popitem(last=False)
        return {
            "version": self._collage_version,
            "age": round(now - self._collage_at, 1),
            "grid": math.isqrt(len(seen.tiles)),
            "tiles": [_tile(tile) for tile in seen.tiles],
        }


def _used(seen: CollageSeen) -> bool:
    """A client was given one of its answers."""
    return any(tile is not None and tile.used for tile in seen.tiles)


def _tile(tile: TileSeen | None) -> dict[str, Any]:
    """state: blank, unknown (the model named no class), used (a client was given it), spare (another was quicker)."""
    if tile is None:
        return {"state": "blank", "label": None, "confidence": 0.0}
    state = "unknown" if tile.label is None else "used" if tile.used else "spare"
    return {"state": state, "label": tile.label, "confidence": round(tile.confidence, 3)}
