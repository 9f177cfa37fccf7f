"""Bytes and trees that are nearly right. Every input follows from its generator, so its number brings it back."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

_MOST_BYTES = 64 * 1024
_MOST_CHANGES = 12
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 17, 2**31, 2**53, -(2**63), 2**64 - 1, 0.0, -0.0, 0.5, 1e300, -1e-300, 1e19),
    *("", "a", "0", "1e9", "none", "true", "../x", "\0", "é😀", "x" * 300, "FP32", "UINT8", "BYTES", "NHWC", "AAAA"),
    *([], {}, [[]], [{}], [0], [1, 1, 16, 16], ["a"], {"": None}, {"a": {}}, [[[[[]]]]], [0] * 200, [None, 1, "a"]),
)


def random_bytes(rng: random.Random, most: int = 512) -> bytes:
    """Up to so many bytes, short ones more often."""
    return rng.randbytes(int(most ** rng.random()))


def mutated(rng: random.Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """The bytes with a few changes: bits, numbers, pieces cut, doubled, moved, overwritten, put in. At most 64 KiB."""
    changed = bytearray(data)
    for _ in range(min(_MOST_CHANGES, 1 + int(rng.expovariate(0.5)))):
        _change(rng, changed, words)
    return bytes(changed[:_MOST_BYTES])


def _change(rng: random.Random, data: bytearray, words: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + 1 + int(64 ** rng.random()))
    match rng.randrange(9):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at:end] = rng.randbytes(end - at)
        case 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(_EDGES) & (256**size - 1)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end] * rng.randrange(1, 5)
        case 5:
            to = rng.randrange(len(data) + 1)
            data[to:to] = data[at:end]
        case 6 if words:
            data[at : rng.choice((at, end))] = rng.choice(words)
        case 7:
            del data[at:]
        case _:
            data[at:at] = random_bytes(rng, 64)


def mutated_tree(rng: random.Random, tree: Any) -> Any:
    """Lists and objects with a few changes: values of other kinds, entries left out, doubled, renamed, nested."""
    changed = deepcopy(tree)
    for _ in range(1 + int(rng.expovariate(0.9))):
        changed = _change_tree(rng, changed)
    return changed


def _change_tree(rng: random.Random, tree: Any) -> Any:
    places: list[tuple[Any, Any]] = []
    _walk(tree, places)
    if not places or rng.random() < 0.02:
        return deepcopy(rng.choice(_VALUES))
    parent, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        parent[key] = [deepcopy(parent[key]) for _ in range(rng.randrange(1, 4))]
    elif kind == 2 and isinstance(parent, dict):
        parent[rng.choice(("", key + "s", key.upper(), "é", "x.y", "a" * 200))] = parent.pop(key)
    elif kind == 3:
        other_parent, other_key = rng.choice(places)
        parent[key] = deepcopy(other_parent[other_key])
    elif kind == 4 and isinstance(parent[key], (int, float)):
        parent[key] = rng.choice((-parent[key], parent[key] + 1, parent[key] * 1e9, parent[key] / 3, str(parent[key])))
    else:
        parent[key] = deepcopy(rng.choice(_VALUES))
    return tree


def _walk(tree: Any, places: list[tuple[Any, Any]]) -> None:
    if len(places) > 2000:
        return
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        places.append((tree, key))
        _walk(value, places)


def toml(tree: Any) -> str:
    """A tree as TOML, whose tables are inline; None is left out where it has a key."""
    if not isinstance(tree, dict):
        return f"value = {_toml(tree)}\n"
    return "".join(f"{json.dumps(str(key))} = {_toml(value)}\n" for key, value in tree.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items() if item is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str) or value is None:
        return json.dumps(value or "", ensure_ascii=False)
    return json.dumps(value)
