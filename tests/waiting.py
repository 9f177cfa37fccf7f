"""Waiting for what can only be looked at: another process, and what it says, writes or runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

LOOKS, PAUSE = 5000, 0.02  # seconds between two looks; all of them are over before the test's own timeout

_T = TypeVar("_T")


def wait_until(look: Callable[[], _T], what: str) -> _T:
    """What `look` finds, as soon as that is something; fails with `what`, in words, where it stays nothing."""
    for _ in range(LOOKS):
        if found := look():
            return found
        time.sleep(PAUSE)
    return _never(what)


async def until(look: Callable[[], _T], what: str) -> _T:
    """The same on an event loop, which goes on meanwhile."""
    for _ in range(LOOKS):
        if found := look():
            return found
        await asyncio.sleep(PAUSE)
    return _never(what)


def _never(what: str) -> _T:
    pytest.fail(f"not so after {LOOKS} looks, {PAUSE} s apart: {what}")


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet collected by whoever inherited it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def lines(path: Path) -> int:
    """So many are in a file that another process writes; 0 where it is not there yet."""
    return len(path.read_text().splitlines()) if path.is_file() else 0
