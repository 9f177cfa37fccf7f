"""`collage classify IMG...`: ask a running gateway what is in some images."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import typer

from collage.exceptions import CollageError, SettingsError, Unavailable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("classify")(classify)


def classify(
    images: list[Path] = typer.Argument(help="JPEG, PNG or WebP files."),
    url: str = typer.Option("http://127.0.0.1:8080", envvar="COLLAGE_URL", help="Where the gateway is."),
    key: str | None = typer.Option(None, envvar="COLLAGE_KEY", help="Your key, where the gateway wants one."),
    accept_degraded: bool = typer.Option(True, help="Whether a backup's answer will do."),
    deadline_ms: float | None = typer.Option(None, help="Milliseconds an answer may take."),
    as_json: bool = typer.Option(False, "--json", help="One line of JSON an image instead of the table."),
) -> None:
    """Classify images. Exit status 1 where some image got no answer; the reason is one line on stderr."""
    query = {"accept_degraded": str(accept_degraded).lower()}
    if deadline_ms is not None:
        query["deadline_ms"] = f"{deadline_ms:g}"
    client = _Client(url, query, key)
    answers: list[tuple[Path, dict[str, Any]]] = []
    for path in images:
        try:
            answers.append((path, client.classify(path.read_bytes())))
        except OSError as error:
            typer.echo(f"{path}: cannot be read ({error.strerror})", err=True)
        except _RefusedError as error:
            typer.echo(f"{path}: {error}", err=True)
    if as_json:
        for path, answer in answers:
            typer.echo(json.dumps({"file": str(path)} | answer))
    elif answers:
        _print_table(answers)
    if len(answers) < len(images):
        raise typer.Exit(1)


def _print_table(answers: list[tuple[Path, dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in ("file", "label", "confidence", "source", "ms"):
        table.add_column(name, justify="right" if name in ("confidence", "ms") else "left", overflow="fold")
    for path, answer in answers:
        table.add_row(
            escape(str(path)),
            escape(str(answer["label"])),
            f"{answer['confidence']:.1%}",
            f"{answer['source']} (degraded)" if answer["degraded"] else str(answer["source"]),
            f"{answer['milliseconds']:.1f}",
        )
    Console().print(table)


class _RefusedError(CollageError):
    """The gateway's error for one image."""


class _Client:
    """One kept-alive connection to a gateway."""

    def __init__(self, url: str, query: dict[str, str], key: str | None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise SettingsError(f"--url: {url!r}; http://HOST:PORT is needed")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._url = url
        self._headers = {"Content-Type": "application/octet-stream"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._connection = kind(parts.hostname, port, timeout=120)
        self._path = f"{parts.path.rstrip('/')}/v1/classify?{urlencode(query)}"

    def classify(self, image: bytes) -> dict[str, Any]:
        """The gateway's answer. Raises _RefusedError for its error, Unavailable where nothing answers there."""
        try:
            self._connection.request("POST", self._path, image, self._headers)
            response = self._connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no gateway answers at {self._url} ({error}); is 'collage serve' running?") from None
        try:
            answer = json.loads(body)
            if status != 200:
                raise _RefusedError(answer["error"])
            if not {"label", "confidence", "source", "degraded", "milliseconds"} <= answer.keys():
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Unavailable(f"what answers at {self._url} is no gateway (HTTP {status})") from None
        return dict(answer)
