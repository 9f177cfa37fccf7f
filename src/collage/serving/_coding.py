"""Which code makes a job's input, and what it reads in the job's output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collage.codes import Code, TileAnswer
from collage.serving._kept import FloatArray, Job


class Coding:
    """The codes of one driver; see there."""

    def __init__(self, single: Code, backups: Sequence[Code], batch: Code | None) -> None:
        self._single, self._batch = single, batch
        self._backups = {(code.source, code.capacity): (index, code) for index, code in enumerate(backups)}

    def of(self, job: Job) -> tuple[int | None, Code]:
        """The job's code, and its place among the backups'."""
        if job.source.degraded:
            return self._backups[job.source, job.capacity]
        if len(job.queries) == 1:
            return None, self._single
        assert self._batch is not None  # or the dispatcher would not start such
        return None, self._batch

    def decode(self, job: Job, output: FloatArray) -> dict[int, TileAnswer]:
        """Output -> answers by position. Raises ValueError for a wrong shape, and where one query gets no answer."""
        _, code = self.of(job)
        if not job.source.degraded and len(job.queries) > 1 and output.shape[:1] != (len(job.queries),):
            raise ValueError(f"output has shape {output.shape}, and {len(job.queries)} singles were asked for")
        answers = code.decode(output, range(len(job.queries)), {})
        if job.source.joint:
            if not np.isfinite(output).all():
                raise ValueError("its values are not finite")
            return {}  # they are read one by one, later
        # A tile that is unknown is an answer of a kind; an output without a single number is not.
        if not answers and (code.capacity == 1 or not np.isfinite(output).any()):
            raise ValueError("its values are not finite, or no probabilities")
        return answers
