"""What the machine is, and how busy a run keeps it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has affinities
        return os.cpu_count() or 1


def cpu_seconds(workers: Iterable[int | None]) -> float | None:
    """CPU time of this process and of these worker processes so far, seconds. None where the system does not tell.

    A worker without a process (None) has used none.
    """
    total = time.process_time()
    if not Path("/proc/self/stat").is_file():
        return None
    for pid in workers:
        if pid is None:
            continue
        try:
            # The name, in brackets, may hold anything; user and system time are the 12th and 13th field after it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just died
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def describe_machine(*also: str) -> dict[str, object]:
    """What a reader needs to judge or repeat a figure. also: packages that it depends on beside the usual ones."""
    packages = ("collage-inference", "numpy", "onnxruntime", "pillow", "uvloop", *also)
    return {
        "cores": cores(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
