"""Learned codes: a small net makes one image of k, the single itself classifies it, a small net reads the answer.

Source: Kosaian, Rashmi and Venkataraman, "Learning a Code", arXiv 1806.01259.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from collage.codes._base import FloatArray
from collage.codes._joint import JointCode
from collage.dispatch import Source
from collage.imaging import Preprocessing
from collage.zoo import open_session

Net = Callable[[FloatArray], FloatArray]


def onnx_net(path: Path) -> Net:
    """A model of one input and one output as a function, on one thread. Raises ModelError for one that is unusable."""
    session = open_session(path)
    name = session.get_inputs()[0].name

    def call(inputs: FloatArray) -> FloatArray:
        return np.asarray(session.run(None, {name: inputs})[0], np.float32)

    return call


class LearnedCode(JointCode):
    """encoder: groups (1, k*C, H, W) -> images (1, C, H, W). decoder: (1, (k+1) * classes) -> (1, k, classes).

    The decoder is given the others' scores by position, zeros for the missing one, then the scores of the group's
    image. Both run where the code does, and not on a worker: encoding takes the time of a small net.
    """

    source = Source.LEARNED

    def __init__(
        self,
        k: int,
        encoder: Net,
        decoder: Net,
        preprocessing: Preprocessing,
        classes: int,
        *,
        output: Literal["logits", "probabilities"] = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(k, preprocessing, classes, output, temperature)
        self._encoder, self._decoder = encoder, decoder

    def _encode(self, images: Sequence[FloatArray], out: FloatArray) -> None:
        out[...] = self._encoder(np.concatenate(images)[None])[0]

    def _rebuild(self, row: FloatArray, missing: int, others: Mapping[int, FloatArray]) -> FloatArray:
        rows = np.zeros((self.capacity + 1, self.classes), np.float32)
        for position, scores in others.items():
            rows[position] = scores
        rows[-1] = self._linear(row)  # the single gave it, in its own form
        return np.asarray(self._decoder(rows.reshape(1, -1))[0, missing])
