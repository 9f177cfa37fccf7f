"""README says what the repository holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_its_tables_are_those_of_the_committed_results() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/update_readme.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_that_it_names_is_there() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"(?:scripts|experiments|results|docs)/[\w./-]*\w", text)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []
