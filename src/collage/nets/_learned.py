"""A learned code: an encoder that makes one image of k, and a decoder, around a single that stays as it is.

After Kosaian, Rashmi and Venkataraman, arXiv 1806.01259 (and JSAIT 2020): encoders are an MLP over pixels, or
convolutions whose dilation grows, the same for every colour channel; the decoder is an MLP over the single's outputs
for the group, the missing one zero. Ours begin as the images' mean (a shortcut), which saves epochs.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn


class LearnedNetSettings(BaseModel):
    """Of the encoder and of the decoder beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["learned"] = "learned"
    encoder: Literal["mlp", "conv"]
    width: int = Field(default=24, ge=4, description="hidden values of the MLP, or channels between convolutions")
    dilations: tuple[int, ...] = Field(default=(1, 1, 2, 4, 8, 1), min_length=1, description="conv only: one a layer")
    hidden: int = Field(default=256, ge=8, description="hidden values of the decoder")


class LearnedNet(nn.Module):
    """Images (B, k*C, S, S), a group a row, normalised -> the single's output for the image made of them (B, classes).

    The single comes by `around` and is no part of this net: it is neither trained nor kept with it.
    """

    def __init__(self, settings: LearnedNetSettings, *, k: int, channels: int, size: int, classes: int) -> None:
        super().__init__()
        kind = _Mlp if settings.encoder == "mlp" else _Dilated
        self.encoder = Encoder(kind(settings, k, size), k, channels)
        self.decoder = Decoder(settings.hidden, k, classes)
        self._single: list[nn.Module] = []  # in a list, where torch does not look for parameters

    def around(self, single: nn.Module) -> None:
        """The single, in eval mode. Its weights are frozen."""
        self._single = [single.eval().requires_grad_(False)]

    def forward(self, images: Tensor) -> Tensor:
        """(B, k*C, S, S) -> (B, classes)."""
        out: Tensor = self._single[0](self.encoder(images))
        return out


class Encoder(nn.Module):
    """k images -> one of the single's own size."""

    def __init__(self, planes: nn.Module, k: int, channels: int) -> None:
        super().__init__()
        self.planes = planes
        self.k, self.channels = k, channels

    def forward(self, images: Tensor) -> Tensor:
        """(B, k*C, S, S) -> (B, C, S, S)."""
        size = images.shape[-1]
        x = images.view(-1, self.k, self.channels, size, size).transpose(1, 2)  # (B, C, k, S, S)
        x = x.reshape(-1, self.k, size, size)  # (B*C, k, S, S): a colour channel by itself
        x = x.mean(1, keepdim=True) + self.planes(x)  # (B*C, 1, S, S)
        out: Tensor = x.view(-1, self.channels, size, size)
        return out


class _Mlp(nn.Module):
    def __init__(self, settings: LearnedNetSettings, k: int, size: int) -> None:
        super().__init__()
        self.first = nn.Linear(k * size * size, settings.width)
        self.norm = nn.BatchNorm1d(settings.width)
        self.last = nn.Linear(settings.width, size * size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, k, S, S) -> (B, 1, S, S)."""
        size = x.shape[-1]
        y: Tensor = self.last(torch.relu(self.norm(self.first(x.flatten(1)))))  # (B, S*S)
        return y.view(-1, 1, size, size)


class _Dilated(nn.Module):
    """Multi-scale context by dilated convolutions (Yu and Koltun, arXiv 1511.07122)."""

    def __init__(self, settings: LearnedNetSettings, k: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = k
        for dilation in settings.dilations:
            layers += [
                nn.Conv2d(width, settings.width, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(settings.width),
                nn.ReLU(),
            ]
            width = settings.width
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, k, S, S) -> (B, 1, S, S)."""
        out: Tensor = self.layers(x)
        return out


class Decoder(nn.Module):
    """Outputs of a group's k singles, the missing one zero, then that of the group's image -> answers of all k."""

    def __init__(self, hidden: int, k: int, classes: int) -> None:
        super().__init__()
        self.k, self.classes = k, classes
        inputs = (k + 1) * classes
        self.layers = nn.Sequential(
            nn.BatchNorm1d(inputs),
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, k * classes),
        )

    def forward(self, outputs: Tensor) -> Tensor:
        """(B, (k+1)*classes) -> (B, k, classes)."""
        out: Tensor = self.layers(outputs)
        return out.view(-1, self.k, self.classes)

    def rebuild(self, singles: Tensor, coded: Tensor) -> Tensor:
        """Each position missing in turn: (B, k, classes) and (B, classes) -> (B, k, classes)."""
        count, k, classes = singles.shape
        here = 1 - torch.eye(k, device=singles.device)
        others = singles.unsqueeze(1) * here.view(1, k, k, 1)  # (B, missing, k, classes)
        rows = torch.cat([others.flatten(2), coded.unsqueeze(1).expand(-1, k, -1)], dim=2)  # (B, k, (k+1)*classes)
        answers: Tensor = self(rows.flatten(0, 1)).view(count, k, k, classes)  # (B, missing, k, classes)
        return answers.diagonal(dim1=1, dim2=2).transpose(1, 2)  # (B, k, classes)
