"""Hostile neighbours: pixels of all other tiles, chosen by gradient to change one tile's answer.

Projected gradient descent (Madry et al., "Towards deep learning models resistant to adversarial attacks", arXiv
1706.06083) with the whole range of a pixel as its budget: a client may send any picture. Every step is rounded to
pixels that a client can send.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from collage.imaging import Preprocessing
from collage.training import assemble
from collage.trust._ask import Pixels, Told


class Attack(BaseModel):
    """How hard the attacker tries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiles: int = Field(default=100, ge=1, description="tiles that are attacked, one in each collage")
    steps: int = Field(default=40, ge=1)
    restarts: int = Field(default=3, ge=1, description="the first from the neighbours as they are, others from noise")
    first_step: float = Field(default=0.25, gt=0, le=1, description="of a pixel's range")
    last_step: float = Field(default=0.02, gt=0, le=1)
    batch: int = Field(default=8, ge=1, description="collages at once")


def attack_neighbours(
    net: nn.Module,
    preprocessing: Preprocessing,
    groups: list[list[Pixels]],
    watched: NDArray[np.int64],
    *,
    attack: Attack,
    told: Told = lambda share: None,
) -> list[list[Pixels]]:
    """Full groups (m) in which all tiles but the watched one have become hostile to it; its own pixels stay.

    net: canvas (B, C, g*S, g*S) -> logits (B, N, K). Of all steps and restarts the group is kept that comes furthest:
    where the largest other column exceeds the first answer's most.
    """
    generator = torch.Generator().manual_seed(0)
    net.requires_grad_(False)
    found: list[list[Pixels]] = []
    for start in range(0, len(groups), attack.batch):
        part = groups[start : start + attack.batch]
        pixels = torch.from_numpy(np.stack([np.stack(group) for group in part])).permute(0, 1, 4, 2, 3) / 255
        tiles = torch.from_numpy(watched[start : start + attack.batch])
        worst = _attack(net, preprocessing, pixels, tiles, attack=attack, generator=generator)  # (B, N, C, S, S)
        arrays = (worst * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()  # (B, N, S, S, C)
        found += [[np.ascontiguousarray(tile) for tile in group] for group in arrays]
        told(min(1.0, (start + attack.batch) / len(groups)))
    return found


def _attack(
    net: nn.Module,
    preprocessing: Preprocessing,
    pixels: Tensor,
    watched: Tensor,
    *,
    attack: Attack,
    generator: torch.Generator,
) -> Tensor:
    """Pixels (B, N, C, S, S), 0..1, and the watched tile of each (B,) -> the worst that was found, alike."""
    count, tiles = pixels.shape[:2]
    ours = nn.functional.one_hot(watched, tiles).bool().view(count, tiles, 1, 1, 1)
    first = _columns(net, preprocessing, pixels, watched).argmax(1)  # (B,)
    worst, furthest = pixels.clone(), torch.full((count,), -torch.inf)
    for restart in range(attack.restarts):
        x = pixels.clone()
        if restart:
            x = torch.where(ours, pixels, _rounded(torch.rand(x.shape, generator=generator)))
        for step in range(attack.steps + 1):
            x.requires_grad_(True)
            columns = _columns(net, preprocessing, x, watched)  # (B, K)
            own = columns.gather(1, first[:, None]).squeeze(1)
            margin = columns.scatter(1, first[:, None], -torch.inf).amax(1) - own  # (B,) above 0: changed
            better = margin.detach() > furthest
            worst[better], furthest[better] = x.detach()[better], margin.detach()[better]
            if step == attack.steps or bool((furthest > 0).all()):
                break
            (slope,) = torch.autograd.grad(margin.sum(), x)
            slope = slope.masked_fill(ours, 0.0)
            if not bool(slope.any()):
                break  # nothing that a neighbour shows reaches these tiles
            share = step / max(1, attack.steps - 1)
            size = attack.first_step * (attack.last_step / attack.first_step) ** share
            x = _rounded((x.detach() + size * slope.sign()).clamp(0, 1))
        if bool((furthest > 0).all()):
            break
    return worst


def _columns(net: nn.Module, preprocessing: Preprocessing, pixels: Tensor, watched: Tensor) -> Tensor:
    """Logits (B, K) of the watched tiles."""
    count, tiles = pixels.shape[:2]
    mean = torch.tensor(preprocessing.mean).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std).view(-1, 1, 1)
    canvas = assemble(((pixels - mean) / std).flatten(0, 1), round(tiles**0.5))  # (B, C, g*S, g*S)
    logits: Tensor = net(canvas)
    return logits[torch.arange(count), watched]


def _rounded(pixels: Tensor) -> Tensor:
    return (pixels * 255).round() / 255
