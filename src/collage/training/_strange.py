"""Tiles that show nothing: what is neither a photograph nor blank, and still must not get a class."""

from __future__ import annotations

import torch
from torch import Tensor

from collage.imaging import Preprocessing
from collage.training._views import normalise_batch


def draw_strange(count: int, preprocessing: Preprocessing, generator: torch.Generator) -> Tensor:
    """Normalised tiles (count, C, S, S): plain colours, coarse noise and fine noise; half of each saturated."""
    channels, size = preprocessing.channels, preprocessing.size
    values = torch.rand(count, channels, size, size, generator=generator)
    saturated = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    values = torch.where(saturated, values.round(), values)
    kind = torch.randint(3, (count,), generator=generator)
    for number, cells in enumerate((1, min(4, size), size)):  # a side; all pixels of a cell are alike
        first = torch.arange(size) * cells // size * size // cells
        mine = kind == number
        values[mine] = values[mine][:, :, first][:, :, :, first]
    return normalise_batch(255 * values, preprocessing)
