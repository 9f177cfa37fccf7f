"""Log records -> lines.

As text:  2026-11-26T07:24:10.123Z INFO collage.access: POST /v1/classify request=4f1c... status=200 ms=12.3
As JSON:  {"time":"2026-11-26T07:24:10.123Z","level":"info","logger":"collage.access","message":...,"request":...}

A record's own values travel as `extra={"fields": {...}}`; "request" is the id of the request in whose task it is
logged. A text line stays one line, whatever a client or a worker put into it, but for the traceback below it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from collage.serving.logs._notes import current_request

_LONGEST_MESSAGE = 2000
_LONGEST_TRACEBACK = 6000  # its end says most
_PLAIN = re.compile(r"[\w.:/{}+@-]+", re.ASCII)  # a value that needs no quotes

_traceback = logging.Formatter().formatException


def json_line(record: logging.LogRecord) -> bytes:
    """One line of JSON, with its newline."""
    said = {
        "time": _time(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record),
        **_fields(record),
    }
    if record.exc_info:
        said["error"] = _traceback(record.exc_info)[-_LONGEST_TRACEBACK:]
    try:
        return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # text that is no UTF-8, say: a file's name in an error
        return json.dumps(said, default=str).encode() + b"\n"


def text_line(record: logging.LogRecord) -> bytes:
    """One line for people, with its newline; a traceback follows, indented."""
    fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
    line = f"{_time(record.created)} {record.levelname} {record.name}: {_visible(_message(record))}{fields}\n"
    if record.exc_info:
        lines = _traceback(record.exc_info)[-_LONGEST_TRACEBACK:].splitlines()
        line += "".join(f"    {_visible(part)}\n" for part in lines)
    return line.encode("utf-8", "backslashreplace")


LINES: dict[str, Callable[[logging.LogRecord], bytes]] = {"text": text_line, "json": json_line}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    notes = current_request.get()
    if notes is not None and "request" not in fields:
        return {"request": notes.id, **fields}
    return fields


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "..."


def _time(created: float) -> str:
    """UTC, RFC 3339, with milliseconds."""
    return f"{_second(int(created))}.{int(created * 1000) % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(created: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


def _word(value: object) -> str:
    """A value that can be told from what stands beside it."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{count}" for name, count in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_word, value))
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _visible(text: str) -> str:
    """Nothing in it begins a line, or a terminal's commands."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
