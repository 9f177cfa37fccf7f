"""What one served version of a model has done, as Triton's statistics extension counts it.

A request's times are those of its query that was answered last, so that they add up to the request's own. `sources`,
which Triton does not have, is by query: what answered it, and where its time went.

    success, fail    requests, and all of their time
    queue            until the job that answered started
    compute_input    reading the image
    compute_infer    the job that answered
    compute_output   reading its output, and where a backup's answer was kept back, waiting for the single
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from collage.dispatch import Source
from collage.serving._inputs import Classified, Stages
from collage.serving._kept import Executed

_BY_STAGE = {
    "queue": "queue",
    "compute_input": "prepare",
    "compute_infer": "compute",
    "compute_output": "output",
}


class _Duration:
    """How often, and how long in all; seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def shown(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


class _Stages:
    """The stages of requests, or of queries."""

    def __init__(self) -> None:
        self._count = 0
        self._seconds = Stages(0.0, 0.0, 0.0, 0.0)

    def add(self, stages: Stages) -> None:
        self._count += 1
        was = self._seconds
        self._seconds = Stages(
            queue=was.queue + stages.queue,
            prepare=was.prepare + stages.prepare,
            compute=was.compute + stages.compute,
            output=was.output + stages.output,
        )

    def shown(self) -> dict[str, dict[str, int]]:
        return {
            name: {"count": self._count, "ns": round(getattr(self._seconds, stage) * 1e9)}
            for name, stage in _BY_STAGE.items()
        }


class Statistics:
    """Counts since the version was loaded. Event loop's thread only."""

    def __init__(self) -> None:
        self._success, self._fail = _Duration(), _Duration()
        self._requests = _Stages()
        self._answers = {source: (_Duration(), _Stages()) for source in Source}
        self._queries = 0
        self._last = 0  # milliseconds since 1970

    def succeeded(self, answers: Sequence[Classified], seconds: float) -> None:
        """A request has its answers."""
        self._last = time.time_ns() // 1_000_000
        self._success.add(seconds)
        self._queries += len(answers)
        last = answers[0] if len(answers) == 1 else max(answers, key=lambda answer: answer.seconds)
        self._requests.add(last.stages)
        for answer in answers:
            whole, stages = self._answers[answer.source]
            whole.add(answer.seconds)
            stages.add(answer.stages)

    def failed(self, seconds: float) -> None:
        """A request was refused once its model was known, came to its deadline, or its client went."""
        self._last = time.time_ns() // 1_000_000
        self._fail.add(seconds)

    def shown(self, name: str, version: str, executed: Mapping[tuple[Source, int], Executed]) -> dict[str, Any]:
        """Triton's form, with `sources`: those that have answered a query or run a job. executed: the driver's."""
        jobs = {source: _total(executed, source) for source in Source}
        return {
            "name": name,
            "version": version,
            "last_inference": self._last,
            "inference_count": self._queries,
            "execution_count": sum(done.count for done in executed.values()),
            "inference_stats": {
                "success": self._success.shown(),
                "fail": self._fail.shown(),
                **self._requests.shown(),
                "cache_hit": _Duration().shown(),
                "cache_miss": _Duration().shown(),
            },
            "batch_stats": _by_batch(executed),
            "sources": {
                source.value: {
                    "answers": whole.shown(),
                    **stages.shown(),
                    "executions": _shown(jobs[source]),
                }
                for source, (whole, stages) in self._answers.items()
                if whole.count or jobs[source].count
            },
        }


def _by_batch(executed: Mapping[tuple[Source, int], Executed]) -> list[dict[str, Any]]:
    """Runs of the single, by the queries in one; a job's input and output take no time of their own on a worker."""
    sizes = sorted({size for source, size in executed if not source.degraded})
    nothing = _Duration().shown()
    return [
        {
            "batch_size": size,
            "compute_input": nothing,
            "compute_infer": _shown(
                _sum(done for (source, of), done in executed.items() if of == size and not source.degraded)
            ),
            "compute_output": nothing,
        }
        for size in sizes
    ]


def _total(executed: Mapping[tuple[Source, int], Executed], source: Source) -> Executed:
    return _sum(done for (kind, _), done in executed.items() if kind is source)


def _sum(parts: Any) -> Executed:
    found = list(parts)
    return Executed(sum(part.count for part in found), sum(part.seconds for part in found))


def _shown(executed: Executed) -> dict[str, int]:
    return {"count": executed.count, "ns": round(executed.seconds * 1e9)}
