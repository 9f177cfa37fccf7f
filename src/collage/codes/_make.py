"""The code that a model's card asks for."""

from __future__ import annotations

from collage.codes._base import Code
from collage.codes._parity import ParityCode
from collage.codes._tiled import CheapCode, CollageCode, ReplicaCode
from collage.dispatch import Role
from collage.zoo import ModelCard


def make_code(card: ModelCard) -> Code:
    """How this model's jobs are made and read: for a single, a replica's. Serving and evaluation both ask here.

    Raises ValueError for a role that no code is written for.
    """
    classes, temperature = len(card.classes), card.temperature
    match card.role:
        case Role.SINGLE:
            return ReplicaCode(card.preprocessing, classes, output=card.output, temperature=temperature)
        case Role.CHEAP:
            return CheapCode(card.preprocessing, classes, output=card.output, temperature=temperature)
        case Role.COLLAGE:
            assert card.grid is not None  # the card's own rule
            return CollageCode(
                card.grid,
                card.preprocessing,
                classes,
                unknown=card.unknown,
                output=card.output,
                temperature=temperature,
            )
        case Role.PARITY:
            assert card.k is not None and card.encoder is not None  # the same  # noqa: PT018
            return ParityCode(
                card.k, card.encoder, card.preprocessing, classes, output=card.output, temperature=temperature
            )
        case _:
            raise ValueError(f"{card.name}: there is no {card.role} code")
