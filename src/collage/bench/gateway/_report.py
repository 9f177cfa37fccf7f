"""What came of it: results/gateway.json, every figure as a table, a picture, and whether what was asked for is met."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, Field

from collage.bench._machine import describe_machine
from collage.bench.gateway._micro import Costs
from collage.bench.gateway._session import SessionResult
from collage.bench.gateway._settings import GatewaySettings, Served, Server

RIVALS = (Server.LITSERVE, Server.MLSERVER, Server.RAY_SERVE)
_OURS = (Server.COLLAGE_NONE, Server.COLLAGE)
_COLOURS = {Server.BARE: "0.25", Server.COLLAGE_NONE: "tab:blue", Server.COLLAGE: "tab:blue"}


class ServerRow(BaseModel):
    """One server with one model: medians over the rounds; low, high: the least and the most of them.

    rps: of the concurrency that gave the most; p50, p99: open loop, at half of that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: Server
    model: Served
    rps: float
    p50_ms: float
    p99_ms: float
    version: str
    settings: dict[str, Any]
    rps_low: float
    rps_high: float
    p50_ms_low: float
    p50_ms_high: float
    p99_ms_low: float
    p99_ms_high: float
    connections: int = Field(description="of the closed loop that gave rps; 0: nobody asks")
    half_rate: float = Field(description="queries per second while p50 and p99 were measured")
    server_us: float | None = Field(description="CPU of all its processes, by query, microseconds")
    process_us: float | None = Field(description="of the server's first process, by query; of Collage: the gateway")
    client_us: float
    rounds: int
    bad: int


class Verdict(BaseModel):
    """One of the things that were asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    found: str
    met: bool


def summarise(results: Sequence[SessionResult]) -> list[ServerRow]:
    """A row for each server and model that there are results of, in their tables' order."""
    rows = []
    for model in Served:
        for server in Server:
            mine = [r for r in results if (r.session.server, r.session.model) == (server, model)]
            if mine:
                rows.append(_row(server, model, mine))
    return rows


def _row(server: Server, model: Served, mine: Sequence[SessionResult]) -> ServerRow:
    by_connections = {
        cell.connections: [c for r in mine for c in r.cells if c.connections == cell.connections]
        for cell in mine[0].cells
    }
    connections, cells = max(by_connections.items(), key=lambda item: median(c.rps for c in item[1]))
    speeds, p50s, p99s = [c.rps for c in cells], [r.half_p50_ms for r in mine], [r.half_p99_ms for r in mine]
    machine = [c.server_us for c in cells if c.server_us is not None]
    process = [c.process_us for c in cells if c.process_us is not None]
    return ServerRow(
        server=server,
        model=model,
        rps=median(speeds),
        p50_ms=median(p50s),
        p99_ms=median(p99s),
        version=mine[-1].version,
        settings=mine[-1].settings,
        rps_low=min(speeds),
        rps_high=max(speeds),
        p50_ms_low=min(p50s),
        p50_ms_high=max(p50s),
        p99_ms_low=min(p99s),
        p99_ms_high=max(p99s),
        connections=connections,
        half_rate=median(r.half_rate for r in mine),
        server_us=median(machine) if machine else None,
        process_us=median(process) if process and server in _OURS else None,
        client_us=median(c.client_us for c in cells),
        rounds=len(mine),
        bad=sum(r.bad for r in mine),
    )


def verdicts(rows: Sequence[ServerRow]) -> list[Verdict]:
    """What was asked for, of what has been measured."""
    known = {(row.server, row.model): row for row in rows}
    found = []
    ours = known.get((Server.COLLAGE_NONE, Served.NOOP))
    rivals = [row for row in rows if row.server in RIVALS and row.model is Served.NOOP]
    if ours is not None and rivals:
        best = max(rivals, key=lambda row: row.rps)
        ratio = ours.rps / best.rps
        asked = "no-op model: at least 2x the requests per second of the best other server"
        found.append(Verdict(asked=asked, found=f"{ratio:.2f}x {best.server.value}", met=ratio >= 2.0))
    bare = known.get((Server.BARE, Served.SINGLE))
    for server in _OURS:
        row = known.get((server, Served.SINGLE))
        if row is None or bare is None:
            continue
        share, over = row.rps / bare.rps, row.p50_ms - bare.p50_ms
        asked = f"{server.value}, real single: at least 90% of bare ONNX Runtime's throughput"
        found.append(Verdict(asked=asked, found=f"{share:.1%}", met=share >= 0.9))
        asked = f"{server.value}, real single: p50 less than 1 ms above bare ONNX Runtime's, at half load"
        found.append(Verdict(asked=asked, found=f"{over:+.2f} ms", met=over < 1.0))
    return found


def write_gateway(
    settings: GatewaySettings, results: Sequence[SessionResult], costs: Costs | None, out: Path, *, command: str
) -> list[Path]:
    """Write what there is. Returns the files."""
    rows = summarise(results)
    folder = out / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    paths = [out / "gateway.json", folder / "sessions.csv", folder / "figure.png", folder / "conditions.json"]
    paths[0].write_bytes(orjson.dumps([row.model_dump(mode="json") for row in rows], option=pretty))
    _write_sessions(results, paths[1])
    _plot(rows, paths[2])
    conditions = {
        "command": command,
        "machine": describe_machine(),
        "settings": settings.model_dump(mode="json"),
        "verdicts": [verdict.model_dump() for verdict in verdicts(rows)],
        "per_query_us": None if costs is None else costs.model_dump(),
    }
    paths[3].write_bytes(orjson.dumps(conditions, option=pretty))
    return paths


def _write_sessions(results: Sequence[SessionResult], path: Path) -> None:
    """A line for each closed loop, and one for each open loop."""
    names = ("round", "server", "model", "load", "connections", "rps", "p50_ms", "p99_ms", "bad",
             "server_us", "process_us", "client_us")  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for result in results:
            session = (result.session.round, result.session.server.value, result.session.model.value)
            for c in result.cells:
                figures = (c.rps, c.p50_ms, c.p99_ms, c.bad, c.server_us, c.process_us, c.client_us)
                writer.writerow([*session, "closed", c.connections, *map(_short, figures)])
            half = (result.half_rate, result.half_p50_ms, result.half_p99_ms)
            writer.writerow([*session, "half", "", *map(_short, half), result.bad, "", "", ""])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _plot(rows: Sequence[ServerRow], path: Path) -> None:
    """Queries per second, and latency at half of them, for each server; the range is that of the rounds."""
    models = [model for model in Served if any(row.model is model for row in rows)]
    figure = Figure(figsize=(9, 1.6 + 2.1 * len(models)), layout="constrained")
    axes = figure.subplots(max(1, len(models)), 2, squeeze=False)
    for line, model in enumerate(models):
        mine = [row for row in rows if row.model is model]
        if model is Served.NOOP:  # a loop around nothing is out of every scale
            mine = [row for row in mine if row.server is not Server.BARE]
        names = [row.server.value for row in mine]
        colours = [_COLOURS.get(row.server, "0.6") for row in mine]
        speed, latency = axes[line]
        speed.barh(names, [row.rps for row in mine], color=colours)
        for place, row in enumerate(mine):
            speed.plot([row.rps_low, row.rps_high], [place, place], color="black", lw=1.5)
            latency.plot([row.p50_ms, row.p99_ms], [place, place], color=colours[place], lw=2)
            latency.scatter([row.p50_ms], [place], color=colours[place], s=28, zorder=3)
        speed.set(title=f"model: {model.value}", xlabel="queries per second")
        latency.set(xscale="log", xlabel="p50 (dot) to p99, ms, at half of that")
        latency.set_yticks(range(len(mine)), [""] * len(mine))
        latency.set_ylim(speed.get_ylim())
        for each in (speed, latency):
            each.invert_yaxis()
            each.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
