"""The documentation says what the code does: its tables, the files it names, and a site without a broken link."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from collage.cli import _app
from collage.dispatch import PRESETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ROOMS = sorted(path.parent.name for path in (ROOT / "src/collage").glob("*/__init__.py"))
NO_REFERENCE = {"cli", "nets"}  # the commands have --help; nets are described where they are trained


def test_tables_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/update_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_a_page_names_is_one() -> None:
    listed = (DOCS / "operate.md").read_text("utf-8").partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]
    known = set(re.findall(r"^\| `(collage_\w+)`", listed, re.M))
    known |= {name + end for name in known for end in ("_bucket", "_count", "_sum")}
    for page in PAGES:
        named = set(re.findall(r"\bcollage_[a-z_]+[a-z]\b", page.read_text("utf-8"))) - {"collage_workers"}  # a prefix
        assert named <= known, page


def test_every_file_that_a_page_names_is_there() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        if page.name == "models.md":
            continue  # it names results that are not there yet, and says so
        named = re.findall(r"\b(?:deploy|experiments|results|scripts|src)/[\w./-]*\w", text)
        assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == [], page
    faults = (DOCS / "faults.md").read_text("utf-8")
    tests = set(re.findall(r"`((?:dispatch|engines|serving)/test_\w+\.py)`", faults))
    assert len(tests) > 8
    assert [name for name in sorted(tests) if not (ROOT / "tests" / name).exists()] == []


def test_every_command_and_option_that_a_page_shows_is_one() -> None:
    for module in sorted((ROOT / "src/collage/cli").glob("_*.py")):
        found = importlib.import_module(f"collage.cli.{module.stem}")
        if hasattr(found, "register") and not any(c.name == module.stem[1:] for c in _app.app.registered_commands):
            found.register(_app.app)
    commands = typer.main.get_command(_app.app).commands  # type: ignore[attr-defined]
    for page in PAGES:
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.split()
                if not words or words[0] != "collage" or words[1].startswith("--"):
                    continue
                command = commands[words[1]]
                command = command.commands[words[2]] if hasattr(command, "commands") else command
                options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
                shown = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
                assert shown <= options, f"{page}: {line}"


def test_every_policy_and_every_room_is_described() -> None:
    text = (DOCS / "policies.md").read_text("utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in text] == []
    assert {path.stem for path in (DOCS / "reference").glob("*.md")} == {*ROOMS, "exceptions", "index"} - NO_REFERENCE


@pytest.mark.timeout(600)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ServingSettings" in (tmp_path / "reference/serving.html").read_text("utf-8")
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)', page.read_text("utf-8"))
        assert loaded == [], page  # nothing comes from elsewhere
