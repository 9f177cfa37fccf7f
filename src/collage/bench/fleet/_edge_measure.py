"""The edge in real time: a gateway, a collage-cnn's server, a relay, cameras, and a rate-limited link between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from collage.bench.fleet._edge_link import CLOUD, Link, slow_link
from collage.bench.fleet._edge_models import Shows
from collage.bench.fleet._edge_outcome import Asked
from collage.bench.fleet._edge_plan import EdgePlan, Way
from collage.bench.fleet._edge_sim import EdgeRun
from collage.exceptions import CollageError
from collage.serving.edge import Mode

_COLLAGE = ("-c", "from collage.cli import main; main()")
_CAMERAS = ("-c", "from collage.bench.fleet._edge_cameras import main; main()")


def measure(
    plan: EdgePlan, shows: Shows, arrivals: Sequence[float], told: Callable[[float], None] = lambda share: None
) -> Iterator[tuple[Way, float, EdgeRun]]:
    """Every way over every link, one run after the other. told: the share done, 0..1.

    Raises SettingsError where no such link can be made here.
    """
    runs = [(way, megabits) for megabits in plan.links for way in plan.ways]
    with slow_link(plan.links[0], plan.down) as link, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, _ in enumerate(arrivals):
            (folder / f"{number}.jpg").write_bytes(shows.photos[number].file)
        serve = ("serve", "--single", plan.single, "--policy", "none", "--workers", "1", "--port", "8080")
        model = ("edge", "model", plan.backup, "--port", "8071")
        with _running(link, link.cloud, *serve, *_OPEN), _running(link, link.cloud, *model, *_OPEN):
            for done, (way, megabits) in enumerate(runs):
                link.set_rate(link.edge, megabits)
                yield way, megabits, _one(plan, way, link, folder, shows=shows, arrivals=arrivals)
                told((done + 1) / len(runs))


_OPEN = ("--host", CLOUD, "--open")


def _one(plan: EdgePlan, way: Way, link: Link, folder: Path, *, shows: Shows, arrivals: Sequence[float]) -> EdgeRun:
    relay = [
        "edge", "relay", "--upstream", f"http://{CLOUD}:8080", "--mode", way.mode, "--full", way.full, "--port", "8070",
        "--window", f"{way.window}", "--patience", f"{way.patience}", "--uploads", f"{way.uploads}",
    ]  # fmt: skip
    if way.mode is not Mode.ALL:
        relay += ["--collage", f"http://{CLOUD}:8071"]
    plan_of = {
        "url": "http://127.0.0.1:8070",
        "deadline": plan.deadline,
        "arrivals": list(arrivals),
        "files": [f"{number}.jpg" for number in range(len(arrivals))],
    }
    (folder / "plan.json").write_text(json.dumps(plan_of))
    with _running(link, link.edge, *relay):
        sent, came = link.sent(link.edge), link.sent(link.cloud)
        command = link.inside(link.edge, sys.executable, *_CAMERAS, str(folder))
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if done.returncode != 0:
            raise CollageError(f"the cameras ended early: {' '.join(done.stderr.split())[-300:]}")
        sent, came = link.sent(link.edge) - sent, link.sent(link.cloud) - came
    counts, *asked = json.loads((folder / "asked.json").read_text())
    before, after = counts["before"], counts["after"]

    def calls(kind: str) -> int:
        return int(after["calls_up"].get(kind, 0) - before["calls_up"].get(kind, 0))

    return EdgeRun(
        asked=[
            Asked(each["seconds"], each["source"] if each["status"] == 200 else None, each.get("label") == photo.label)
            for each, photo in zip(asked, shows.photos, strict=False)
        ],
        up=sent,
        down=came,
        fulls=calls("full"),
        canvases=calls("collage"),
        edge_cpu_seconds=after["cpu_seconds"] - before["cpu_seconds"],
        sending_seconds=0.0,
    )


@contextmanager
def _running(link: Link, end: str, *words: str) -> Iterator[None]:
    """`collage WORDS` at that end, once it serves, until this closes."""
    command = link.inside(end, sys.executable, *_COLLAGE, *words)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_environment()
    )
    assert process.stdout is not None
    try:
        if not any("Serving at " in line for line in process.stdout):
            raise CollageError(f"collage {words[0]} did not start at {end}")
        yield
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_SERVE_")}
    return kept | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
