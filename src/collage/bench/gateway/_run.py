"""A whole comparison: server after server, each started afresh, its answer looked at, and then measured."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collage.bench._http import HttpPool
from collage.bench.gateway._client import Figures, closed_loop, open_loop
from collage.bench.gateway._journal import GatewayJournal
from collage.bench.gateway._noop import make_noop
from collage.bench.gateway._processes import bare_loop, free_ports, process_cpu, running, tree_cpu
from collage.bench.gateway._servers import HOST, Launch, environment_of, launch, version_of
from collage.bench.gateway._session import Cell, SessionResult
from collage.bench.gateway._settings import GatewaySettings, Served, Server, Session, sessions
from collage.exceptions import ModelError
from collage.zoo import LoadedModel, load_model, open_session

_CHECK_SECONDS = 60.0
_TRIES = 3


class Models:
    """What is served: both models with their backups, and an image for both."""

    def __init__(self, settings: GatewaySettings, folder: Path) -> None:
        """Writes the no-op models into the folder. Raises ModelError for models that are not there."""
        single = load_model(settings.single)
        noop = make_noop(folder, single.card)
        self._models = {
            Served.SINGLE: (single, load_model(settings.backup)),
            Served.NOOP: (load_model(str(noop.single)), load_model(str(noop.collage))),
        }
        shape = (1, single.card.preprocessing.channels, *[single.card.preprocessing.size] * 2)
        rng = np.random.default_rng(settings.seed)
        self.image: NDArray[np.float32] = rng.standard_normal(shape, dtype=np.float32)

    def single(self, served: Served) -> LoadedModel:
        """The model."""
        return self._models[served][0]

    def backup(self, served: Served) -> LoadedModel:
        """Its collage-cnn."""
        return self._models[served][1]

    def scores(self, served: Served) -> NDArray[np.float32]:
        """What the model says of the image (classes,)."""
        session = open_session(self.single(served).path)
        found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: self.image})[0][0]
        return found


class _Stage(NamedTuple):
    """What all sessions share."""

    settings: GatewaySettings
    models: Models
    folder: Path
    environments: Path


def missing(settings: GatewaySettings, environments: Path) -> list[Server]:
    """Servers that cannot be measured: there is no environment for them."""
    ours = (Server.BARE, Server.COLLAGE, Server.COLLAGE_NONE)
    return [s for s in settings.servers if s not in ours and environment_of(s, environments) is None]


def seconds_of(settings: GatewaySettings, left: int) -> float:
    """About how long so many sessions take."""
    start = 8.0
    return left * (start + settings.warm_seconds + len(settings.concurrency) * settings.seconds + settings.half_seconds)


async def run_gateway(
    settings: GatewaySettings,
    journal: GatewayJournal,
    folder: Path,
    environments: Path,
    on_session: Callable[[Session, int, int], None] = lambda session, done, total: None,
) -> None:
    """Run the sessions that the journal does not hold; each is added to it as it ends.

    on_session: told of each before it begins, with how many are done, of how many. Raises ModelError where a server
    does not start, or gives a wrong answer.
    """
    absent = missing(settings, environments)
    wanted = [session for session in sessions(settings) if session.server not in absent]
    folder = folder.absolute()  # servers run in folders of their own
    stage = _Stage(settings, Models(settings, folder), folder, environments)
    for done, session in enumerate(wanted):
        if session not in journal:
            on_session(session, done, len(wanted))
            measure = _bare if session.server is Server.BARE else _served
            journal.add(await measure(stage, session))


async def _served(stage: _Stage, session: Session) -> SessionResult:
    async with contextlib.AsyncExitStack() as stack:
        started, port, process = await _start(stage, session, stack)
        await _check(started, port, session, stage.models.scores(session.model))
        await closed_loop(
            HOST, port, started.query, max(stage.settings.concurrency), max(0.05, stage.settings.warm_seconds)
        )
        cells = []
        for connections in stage.settings.concurrency:
            before, own = tree_cpu(process.pid), process_cpu(process.pid)
            figures = await closed_loop(HOST, port, started.query, connections, stage.settings.seconds)
            cells.append(_cell(connections, figures, tree_cpu(process.pid) - before, process_cpu(process.pid) - own))
        rate = max(cell.rps for cell in cells) / 2
        half = await open_loop(
            HOST,
            port,
            started.query,
            rate=rate,
            seconds=stage.settings.half_seconds,
            seed=stage.settings.seed + 1000 * session.round,
        )
    return SessionResult(
        session=session,
        version=version_of(session.server, stage.environments),
        settings=started.settings,
        cells=cells,
        half_rate=rate,
        half_p50_ms=_quantile(half.latencies, 0.5),
        half_p99_ms=_quantile(half.latencies, 0.99),
        bad=half.bad + sum(cell.bad for cell in cells),
    )


async def _start(
    stage: _Stage, session: Session, stack: contextlib.AsyncExitStack
) -> tuple[Launch, int, subprocess.Popen[bytes]]:
    """The server, ready, until the stack is closed. Another program may take a port that was free a moment ago."""
    for left in reversed(range(_TRIES)):
        port = free_ports()
        started = launch(
            session.server,
            stage.models.single(session.model),
            stage.models.backup(session.model),
            stage.models.image,
            workers=stage.settings.workers,
            port=port,
            environments=stage.environments,
        )
        where = stage.folder / "servers" / f"{session.server}-{session.model}"
        try:
            return started, port, await stack.enter_async_context(running(started, port, where))
        except ModelError:
            if not left:
                raise
    raise AssertionError("unreachable")


async def _bare(stage: _Stage, session: Session) -> SessionResult:
    """As many processes as workers; half load: each sleeps for as long as it has calculated."""
    path = stage.models.single(session.model).path
    async with contextlib.AsyncExitStack() as stack:
        loops = [await stack.enter_async_context(bare_loop(path)) for _ in range(stage.settings.workers)]

        async def both(seconds: float, share: float) -> list[dict[str, Any]]:
            return await asyncio.gather(*(loop(seconds, share) for loop in loops))

        await both(max(0.05, stage.settings.warm_seconds), 1.0)
        whole = await both(stage.settings.seconds, 1.0)
        half = await both(stage.settings.half_seconds, 0.5)
    calls, halves = (np.concatenate([one["calls"] for one in found]) for found in (whole, half))
    rps = sum(len(one["calls"]) / one["seconds"] for one in whole)
    cell = Cell(
        connections=0, rps=rps, p50_ms=_quantile(calls, 0.5), p99_ms=_quantile(calls, 0.99), bad=0,
        server_us=None, process_us=None, client_us=0.0,
    )  # fmt: skip
    return SessionResult(
        session=session,
        version=version_of(session.server, stage.environments),
        settings={"processes": stage.settings.workers, "threads": 1, "query": "none: one array in a loop"},
        cells=[cell],
        half_rate=sum(len(one["calls"]) / one["seconds"] for one in half),
        half_p50_ms=_quantile(halves, 0.5),
        half_p99_ms=_quantile(halves, 0.99),
        bad=0,
    )


async def _check(started: Launch, port: int, session: Session, scores: NDArray[np.float32]) -> None:
    """Its answer is the model's."""
    pool = HttpPool(HOST, port)
    answer = await pool.ask(started.query, seconds=_CHECK_SECONDS)
    await pool.close()
    if answer.status != 200 or not np.allclose(started.scores(answer), scores, rtol=1e-3, atol=1e-4):
        raise ModelError(f"{session.server}: a wrong answer ({answer.status}): {answer.body[:200]!r}")


def _cell(connections: int, figures: Figures, tree: float, own: float) -> Cell:
    """tree, own: CPU seconds of all the server's processes, and of its first one alone, meanwhile."""
    answers = max(1, len(figures.latencies))
    return Cell(
        connections=connections,
        rps=len(figures.latencies) / figures.seconds,
        p50_ms=_quantile(figures.latencies, 0.5),
        p99_ms=_quantile(figures.latencies, 0.99),
        bad=figures.bad,
        server_us=tree / answers * 1e6,
        process_us=own / answers * 1e6,
        client_us=figures.own_cpu / answers * 1e6,
    )


def _quantile(seconds: NDArray[np.float64], share: float) -> float:
    """Milliseconds; 0 without any."""
    return float(np.quantile(seconds, share)) * 1e3 if len(seconds) else 0.0
