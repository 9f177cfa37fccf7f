"""The process's logging, as the settings say."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collage.serving.logs._format import LINES
from collage.serving.logs._writer import LineWriter, QueuedHandler

if TYPE_CHECKING:
    from collage.serving._settings import ServingSettings

_STDERR = 2
_LAST_SECONDS = 1.0  # for the last lines


@contextmanager
def logs_written(settings: ServingSettings) -> Iterator[None]:
    """All loggers write to stderr inside. Of other packages, warnings and what else they say at level info: what they
    say at level debug may hold what a client sent.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    handler = QueuedHandler(LineWriter(_STDERR), LINES[settings.log_format])
    root, ours = logging.getLogger(), logging.getLogger("collage")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(max(level, logging.INFO))
    ours.setLevel(level)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        handler.writer.close(_LAST_SECONDS)


def lines_lost() -> int:
    """Lines that were to be written and were not, of the handlers that are there now."""
    return sum(handler.writer.lost for handler in logging.getLogger().handlers if isinstance(handler, QueuedHandler))
