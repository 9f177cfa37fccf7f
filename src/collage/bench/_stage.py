"""What all turns of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from collage.bench._images import BenchImages
from collage.bench._links import LinkedEngine
from collage.bench._settings import Straggler
from collage.dispatch import Role
from collage.engines import LocalEngine
from collage.simulation import CallCost
from collage.zoo import LoadedModel


class Stage(NamedTuple):
    """What all turns share."""

    models: Mapping[Role, LoadedModel]
    costs: Mapping[Role, CallCost]
    images: BenchImages
    local: LocalEngine
    linked: LinkedEngine | None = None  # where an experiment has workers elsewhere

    def workers_of(self, straggler: Straggler) -> LocalEngine | LinkedEngine:
        """Who runs the jobs of such a turn."""
        if straggler != "delayed":
            return self.local
        assert self.linked is not None
        return self.linked
