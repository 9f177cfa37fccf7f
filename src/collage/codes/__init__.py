"""Codes: how one backup job is made of several queries, and how its answer gives theirs back."""

from collage.codes._base import Code, TileAnswer
from collage.codes._batch import BatchCode
from collage.codes._boxes import BoxesCode
from collage.codes._learned import LearnedCode
from collage.codes._make import make_code
from collage.codes._parity import ParityCode, concat_layout
from collage.codes._tiled import CheapCode, CollageCode, ReplicaCode

__all__ = [
    "BatchCode",
    "BoxesCode",
    "CheapCode",
    "Code",
    "CollageCode",
    "LearnedCode",
    "ParityCode",
    "ReplicaCode",
    "TileAnswer",
    "concat_layout",
    "make_code",
]
