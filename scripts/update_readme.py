"""Put the tables of the committed results into README.md, between its markers; --check: say whether they are there.

    python scripts/update_readme.py

Reads results/tail-live.json and the shipped models' cards.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _markers import replace_marked

from collage.bench import Row, markdown, verdicts
from collage.zoo import list_models

ROOT = Path(__file__).resolve().parent.parent


def main(check: bool) -> int:
    """0 where README.md is up to date, or has been made so."""
    path = ROOT / "README.md"
    text = path.read_text("utf-8")
    wanted = replace_marked(text, "tail-live", _tail_live(), "README.md")
    wanted = replace_marked(wanted, "models", _models(), "README.md")
    if wanted == text:
        return 0
    if check:
        print("README.md: its tables are not those of results/; run scripts/update_readme.py")  # noqa: T201
        return 1
    path.write_text(wanted, "utf-8")
    return 0


def _tail_live() -> str:
    rows = [Row.model_validate(row) for row in json.loads((ROOT / "results/tail-live.json").read_text("utf-8"))]
    independent = [row for row in rows if row.straggler == "iid"]
    episodes = [row for row in rows if row.straggler == "episodes"]
    return markdown(independent) + "".join(f"- {sentence}\n" for sentence in verdicts(episodes))


def _models() -> str:
    lines = ["| model | role | accuracy | multiply-accumulates | measured call | file |", "|---|---|---|---|---|---|"]
    for model in list_models():
        card = model.card
        assert card.accuracy is not None
        assert card.cost is not None
        name = "A_a" if card.single_sha256 is None else "A_d"
        ratio = f"{card.cost.latency_ratio:.2f} of the single's" if card.cost.latency_ratio else "1"
        size = f"{model.path.stat().st_size / 1e6:.1f} MB"
        accuracy = f"{name} {card.accuracy.accuracy:.2%}"
        lines.append(f"| {card.name} | {card.role} | {accuracy} | {card.cost.macs / 1e6:.1f} M | {ratio} | {size} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
