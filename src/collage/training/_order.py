"""In which order validation images are grouped."""

from __future__ import annotations

import torch
from torch import Tensor

_SEED = 0


def mixed_order(count: int, group: int) -> Tensor:
    """Indices of `count` images in an order that is always the same, filled up from its start to whole groups.

    Image folders hold one class after another: groups taken as they come would be all of one class, which makes a
    parity model look far worse than it is, and neighbours of a tile all alike.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_SEED))
    return order[torch.arange(-(-count // group) * group) % count]
