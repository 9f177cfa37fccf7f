"""Inputs for one target, one after the other, in a process of their own: a crash or a hang is seen from outside.

    python -P -m collage.bench.chaos.fuzz._child TARGET SEED FIRST COUNT FOUND_FOLDER

Before each input its number is printed; what escapes is kept in the folder, and counted; the end is a line of JSON.
"""

from __future__ import annotations

import faulthandler
import resource
import sys
import warnings
from pathlib import Path

import orjson

from collage.bench.chaos.fuzz._kept import keep, make_input
from collage.bench.chaos.fuzz._live import resident
from collage.bench.chaos.fuzz._targets import TARGETS

_MOST_MEMORY = 4 * 2**30  # bytes of addresses: what asks for more is told so, instead of the whole machine
_WARM = 10  # one part of so many is over before memory is looked at first


def main(name: str, seed: int, first: int, count: int, folder: Path) -> None:
    """Give the target inputs from `first` on."""
    target = TARGETS[name]
    accepted = escaped = before = 0
    for done in range(count):
        index = first + done
        data = make_input(target, seed, index)
        sys.stdout.write(f"{index}\n")
        sys.stdout.flush()
        if done == count // _WARM:
            before = resident("self")
        try:
            accepted += target.run(data)
        except Exception as error:
            escaped += 1
            keep(folder, f"{name}-{seed}-{index}", data, f"{type(error).__name__}: {error}")
    end = {"accepted": accepted, "escaped": escaped, "memory": [before, resident("self")]}
    sys.stdout.buffer.write(orjson.dumps(end) + b"\n")


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    name, seed, first, count, folder = sys.argv[1:]
    main(name, int(seed), int(first), int(count), Path(folder))
