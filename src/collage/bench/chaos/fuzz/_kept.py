"""Inputs by their numbers, and those that did harm, kept."""

from __future__ import annotations

import random
from pathlib import Path

from collage.bench.chaos.fuzz._targets import Target


def make_input(target: Target, seed: int, index: int) -> bytes:
    """The input of this number."""
    return target.make(random.Random(f"{seed}-{target.name}-{index}"))


def keep(folder: Path, name: str, data: bytes, why: str) -> None:
    """Put an input that should not have done this where it is found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / f"{name}.txt").write_text(why[:2000] + "\n", "utf-8", errors="replace")
