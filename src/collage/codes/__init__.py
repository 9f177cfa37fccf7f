"""Codes: how one backup job is made of several queries, and how its answer gives theirs back."""

from collage.codes._base import Code, TileAnswer

__all__ = ["Code", "TileAnswer"]
