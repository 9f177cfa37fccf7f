"""The code in docs/ runs, page by page, as a reader would run it.

A page's ```bash and ```python blocks are run in order in a folder of their own that looks like the repository's root.
A comment on the line above a block says otherwise; it cannot be seen on the page:

    <!-- not run: WHY -->        the block is left out
    <!-- background -->          a server, which runs until the page ends; it is waited for until it serves
    <!-- file: NAME -->          the block's text is written to the file NAME
    <!-- output -->              what the block before printed, numbers apart; "..." is any text, and alone any lines
    <!-- needs: PACKAGE -->      anywhere on the page: it is skipped where that is not installed
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
LANGUAGES = {"bash", "python", "toml", "json", "yaml", "text", "mermaid"}
BARE = {"architecture.md", "models.md"}  # blocks without a language are pictures and lists of commands there
PORT = "127.0.0.1:8080"  # where the pages' gateway is


class Block(NamedTuple):
    """One block of code: "run", "skip", "background", "file" or "output", and for a file its name."""

    kind: str
    argument: str
    language: str
    text: str


def _blocks(page: Path) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page.read_text("utf-8")):
        kind, _, argument = (match["note"] or "").partition(": ")
        kind = {"not run": "skip", "": "run" if match["language"] in ("bash", "python") else "show"}.get(kind, kind)
        found.append(Block(kind, argument, match["language"], match["text"]))
    return found


def _runs(page: Path) -> bool:
    return any(block.kind == "run" for block in _blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_every_block_says_what_it_is(page: Path) -> None:
    blocks = _blocks(page)
    assert len(blocks) * 2 == len(re.findall(r"^```", page.read_text("utf-8"), re.M))
    for block in blocks:
        assert block.language in LANGUAGES or page.name in BARE, block
        assert block.kind in {"run", "skip", "background", "file", "output", "show"}, block
        assert block.kind not in {"skip", "file"} or block.argument, block


class Reader:
    """Somebody at a terminal, in a folder that looks like the repository's root."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.said = ""
        self._port = port
        self._servers: list[subprocess.Popen[str]] = []
        for item in ROOT.iterdir():
            if not item.name.startswith("."):
                (folder / item.name).symlink_to(item)
        (folder / "runs").unlink(missing_ok=True)
        programs = folder / ".bin"
        programs.mkdir()
        (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (programs / "collage").write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -c "from collage.cli import main; main()" "$@"\n'
        )
        for program in programs.iterdir():
            program.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")}
        self._environment = environment | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
            "COLLAGE_SERVE_PORT": str(port),
            "COLLAGE_URL": f"http://127.0.0.1:{port}",
        }

    def do(self, block: Block) -> None:
        """As the block's comment says."""
        text = block.text.replace(PORT, f"127.0.0.1:{self._port}").replace("localhost:8080", f"localhost:{self._port}")
        if block.kind == "file":
            (self.folder / block.argument).write_text(text, "utf-8")
        elif block.kind == "run":
            shell = ["bash", "-euo", "pipefail"]
            command = [*([sys.executable] if block.language == "python" else shell), "-c", text]
            done = subprocess.run(
                command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            self.said = done.stdout
        elif block.kind == "background":
            self._serve(text)
        elif block.kind == "output":
            pattern = "".join(
                "(.*\n)*?" if line == "..." else ".*".join(map(re.escape, _shape(line).split("..."))) + "\n"
                for line in block.text.splitlines()
            )
            said = "".join(_shape(line) + "\n" for line in self.said.splitlines())
            assert re.search(pattern, said), f"{block.text}\nis not what was said:\n{self.said}"

    def _serve(self, text: str) -> None:
        server = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._servers.append(server)
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if "Serving at " in line:
                return
        pytest.fail(f"{text} did not serve: {said}")

    def leave(self) -> None:
        """End what serves."""
        for server in self._servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.communicate()


def _shape(line: str) -> str:
    """A line without its numbers, and without the widths that follow from them."""
    return re.sub(r"[ ─━═]+", " ", re.sub(r"\d+(?:[.,]\d+)*", "#", line)).strip()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Who reads one page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reading = Reader(tmp_path, port)
    yield reading
    reading.leave()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if _runs(page)], ids=lambda page: str(page.relative_to(ROOT / "docs"))
)
def test_a_pages_code_runs(page: Path, reader: Reader) -> None:
    text = page.read_text("utf-8")
    if "\ncurl " in text and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for package in re.findall(r"<!-- needs: (\w+) -->", text):
        pytest.importorskip(package)
    for block in _blocks(page):
        reader.do(block)
