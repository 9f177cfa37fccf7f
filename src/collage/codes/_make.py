"""The code that a model's card asks for."""

from __future__ import annotations

from pathlib import Path

from collage.codes._base import Code
from collage.codes._batch import BatchCode
from collage.codes._boxes import BoxesCode
from collage.codes._learned import LearnedCode, onnx_net
from collage.codes._parity import ParityCode
from collage.codes._tiled import CheapCode, CollageCode, ReplicaCode
from collage.dispatch import Role
from collage.zoo import ModelCard


def make_code(card: ModelCard, folder: Path | None = None) -> Code:
    """How this model's jobs are made and read: for a single, a replica's. Serving and evaluation both ask here.

    folder: where the card's files are; a learned code runs them. Raises ModelError where it cannot.
    """
    classes, temperature = len(card.classes), card.temperature
    match card.role:
        case Role.SINGLE:
            return ReplicaCode(card.preprocessing, classes, output=card.output, temperature=temperature)
        case Role.CHEAP:
            return CheapCode(card.preprocessing, classes, output=card.output, temperature=temperature)
        case Role.COLLAGE:
            assert card.grid is not None  # the card's own rule
            kind = BoxesCode if card.head == "boxes" else CollageCode
            return kind(
                card.grid,
                card.preprocessing,
                classes,
                unknown=card.unknown,
                output=card.output,
                temperature=temperature,
            )
        case Role.BATCH:
            assert card.k is not None
            return BatchCode(
                card.k, card.preprocessing, classes, unknown=card.unknown, output=card.output, temperature=temperature
            )
        case Role.PARITY:
            assert card.k is not None and card.encoder is not None  # the same  # noqa: PT018
            return ParityCode(
                card.k, card.encoder, card.preprocessing, classes, output=card.output, temperature=temperature
            )
        case Role.LEARNED:
            assert card.k is not None and card.decoder is not None  # the same  # noqa: PT018
            if folder is None:
                raise ValueError("a learned code is made of files: name their folder")
            encoder, decoder = onnx_net(folder / card.file), onnx_net(folder / card.decoder.file)
            return LearnedCode(
                card.k, encoder, decoder, card.preprocessing, classes, output=card.output, temperature=temperature
            )
