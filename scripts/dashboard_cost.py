"""What an open first page costs its gateway: CPU time of the gateway's process, with none, one and twenty pages open.

    python scripts/dashboard_cost.py --out results/dashboard-cost.json

A gateway with the shipped models answers a steady stream of queries; its workers hold each job, so that the gateway's
process is what is measured. "Pages" ask what a browser's page asks, as often as it does; the one page asks four times
as often, and a quarter of what that costs is told, as one page alone would be lost in the noise. (Faster would not
do: a status is good for a quarter of a second, whoever asks.) Rounds take turns, so that a busy machine is unfair to
none, and each measures the CPU time of the gateway's process alone, which a busy machine stretches less than the clock.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from collage.serving._history import COUNTERS, History, Totals
from collage.serving._stories import Stories
from collage.serving._story import JobStory, QueryStory

PAGES = {0: 1, 1: 4, 20: 1}  # how many, and how many times as fast they ask
SERVE = """
import json
from collage.serving import DataPlane, load_settings, serve
settings = load_settings(port=0, workers=4, policy="collage", control_share=0.05, log_level="error")
serve(settings, lambda url: print(url, flush=True), plane=DataPlane(settings, hold=lambda *_: 0.02))
"""


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each round")
    parser.add_argument("--rate", type=float, default=50.0, help="queries a second")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    samples = Path(__file__).parents[1] / "src/collage/zoo/samples"
    picture = min(samples.glob("**/*.png")).read_bytes()
    rounds: dict[int, list[dict[str, float]]] = {pages: [] for pages in PAGES}
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            address = urlsplit(gateway.stdout.readline().strip()).netloc
            load = Load(address, picture, arguments.rate)
            for number in range(arguments.rounds + 1):
                for pages in PAGES:
                    measured = one_round(gateway.pid, load, pages, arguments.seconds)
                    if number:  # the first is for warming up
                        rounds[pages].append(measured)
        finally:
            gateway.terminate()
    result = summary(rounds) | {
        "conditions": {
            "queries_a_second": arguments.rate,
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "workers": 4,
            "held_seconds": 0.02,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_average": round(os.getloadavg()[0], 1),
        },
        "keeping": keeping(),
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.out is not None:
        arguments.out.write_text(text, "utf-8")


def cpu(pid: int) -> float:
    """CPU seconds that the process's threads have used, its children not counted."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


@dataclass
class Load:
    """The queries: where they go, what they show, how many come a second, and how many each visitor had answered."""

    address: str
    picture: bytes
    rate: float
    answered: list[int] = field(default_factory=lambda: [0] * 8)


def one_round(pid: int, load: Load, pages: int, seconds: float) -> dict[str, float]:
    """CPU seconds a second, and queries a second that were answered."""
    over = threading.Event()
    began = time.monotonic()
    threads = [threading.Thread(target=page, args=(load.address, 1.0 / PAGES[pages], over)) for _ in range(pages)]
    threads += [
        threading.Thread(target=visitor, args=(load, place, began, over)) for place in range(len(load.answered))
    ]
    for thread in threads:
        thread.start()
    time.sleep(1.0)  # until all are at work
    before, since, count = cpu(pid), time.monotonic(), sum(load.answered)
    over.wait(seconds)
    used, took, done = cpu(pid) - before, time.monotonic() - since, sum(load.answered) - count
    over.set()
    for thread in threads:
        thread.join()
    return {"cpu": used / took, "rate": done / took}


def visitor(load: Load, place: int, began: float, over: threading.Event) -> None:
    """Its share of the queries, at regular times."""
    connection, each = http.client.HTTPConnection(load.address, timeout=60), len(load.answered) / load.rate
    due = began + place / load.rate
    while not over.wait(max(0.0, due - time.monotonic())):
        connection.request("POST", "/v1/classify", load.picture)
        response = connection.getresponse()
        response.read()
        load.answered[place] += response.status == 200
        due += each
    connection.close()


def page(address: str, period: float, over: threading.Event) -> None:
    """What dashboard.js asks, as often."""
    connection = http.client.HTTPConnection(address, timeout=60)

    def ask(path: str) -> Any:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
        return json.loads(content) if response.getheader("content-type") == "application/json" else None

    tick, shown, since = 0, None, 0.0
    while not over.is_set():
        due = time.monotonic() + period
        collage = ask("/v1/status")["collage"]
        if collage is not None and collage["version"] != shown:
            shown = collage["version"]
            ask(f"/v1/collage.png?version={shown}")
        if tick % 5 == 0:
            since = max([since, *ask(f"/v1/history?range=15m&since={since}")["points"]["at"]])
        if tick % 2 == 0:
            ask("/v1/stories")
        tick += 1
        over.wait(max(0.0, due - time.monotonic()))
    connection.close()


def summary(rounds: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds, and what a page adds in each round, with the least and the most."""
    none = [measured["cpu"] for measured in rounds[0]]
    added = {
        pages: sorted((one["cpu"] - bare) / pages / PAGES[pages] for one, bare in zip(rounds[pages], none, strict=True))
        for pages in PAGES
        if pages
    }
    return {
        "gateway_cpu_ms_a_second": {
            str(pages): round(1000 * (statistics.median(none) + pages * statistics.median(added.get(pages, [0.0]))), 1)
            for pages in PAGES
        },
        "queries_a_second": {
            str(pages): round(statistics.median(one["rate"] for one in rounds[pages]), 1) for pages in PAGES
        },
        "page_cpu_ms_a_second": {
            str(pages): {
                "median": round(1000 * statistics.median(values), 2),
                "least": round(1000 * values[0], 2),
                "most": round(1000 * values[-1], 2),
            }
            for pages, values in added.items()
        },
        "page_over_queries": round(statistics.median(added[1]) / statistics.median(none), 3),
    }


def keeping() -> dict[str, float]:
    """What is kept whether anybody looks or not: microseconds of a query, milliseconds of an interval (5 s)."""
    history, stories, count = History(0.0, 0.0), Stories(), 5000
    began = time.process_time()
    for number in range(count):
        story = QueryStory(number, 0.0)
        story.jobs.append(JobStory(number, "single", "w0", 1, 0.0))  # type: ignore[arg-type]
        story.jobs[0].end(0.1, "done")
        story.end(0.1 + number % 7, "single", number)  # type: ignore[arg-type]
        stories.add(story)
        history.answered(0.1)
    query = (time.process_time() - began) / count
    totals, ticks = Totals(dict.fromkeys(COUNTERS, 0.0), 1.0, 0.1), 1440
    began = time.process_time()
    for tick in range(1, ticks + 1):
        for _ in range(5):
            history.answered(0.1)
        history.tick(5.0 * tick, totals, {})
    return {
        "microseconds_a_query": round(1e6 * query, 1),
        "milliseconds_an_interval": round(1e3 * (time.process_time() - began) / ticks, 2),
    }


if __name__ == "__main__":
    main()
