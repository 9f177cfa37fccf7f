"""The faults, in one table: what is done, for as long as the context lasts, and what each side sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from collage.bench.chaos import _hostile
from collage.bench.chaos._gateway import held, send
from collage.bench.chaos._stage import Layout, Stage
from collage.exceptions import ModelError

_APART = 1.0  # seconds between two kills

Strike = Callable[[Stage], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One fault. clients, operator: what they see of it."""

    name: str
    layout: Layout
    strike: Strike
    what: str
    clients: str
    operator: str


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """The work goes on until the context ends. Its error, where it has one, is raised there."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _kill_one_by_one(stage: Stage) -> AsyncIterator[None]:
    async def go_on() -> None:
        turn = 0
        while True:
            workers = stage.gateway.workers()
            if workers:
                send(workers[turn % len(workers)], signal.SIGKILL)
            turn += 1
            await asyncio.sleep(_APART)

    async with beside(go_on()):
        yield


@asynccontextmanager
async def _kill_half(stage: Stage) -> AsyncIterator[None]:
    workers = stage.gateway.workers()
    for pid in workers[: len(workers) // 2]:
        send(pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def _kill_collage(stage: Stage) -> AsyncIterator[None]:
    async def go_on() -> None:
        while True:
            for pid in stage.gateway.collage_workers():
                send(pid, signal.SIGKILL)
            await asyncio.sleep(_APART)

    async with beside(go_on()):
        yield


@asynccontextmanager
async def _stopped(pick: Callable[[Stage], list[int]], stage: Stage) -> AsyncIterator[None]:
    pids = pick(stage)
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


def _one(stage: Stage) -> list[int]:
    return stage.gateway.workers()[:1]


def _half(stage: Stage) -> list[int]:
    workers = stage.gateway.workers()
    return workers[: len(workers) // 2]


def _collage(stage: Stage) -> list[int]:
    return stage.gateway.collage_workers()


@asynccontextmanager
async def _lying(kind: str, stage: Stage) -> AsyncIterator[None]:
    await stage.remotes[0].lie(kind)
    try:
        yield
    finally:
        await stage.remotes[0].lie("none")


@asynccontextmanager
async def _remote_restarts(stage: Stage) -> AsyncIterator[None]:
    remote = stage.remotes[0]
    await remote.stop()
    try:
        yield
    finally:
        await remote.start()


@asynccontextmanager
async def _no_room_for_logs(stage: Stage) -> AsyncIterator[None]:
    await stage.gateway.tell("logs", full=True)
    try:
        async with _kill_one_by_one(stage):  # so that there is something to log
            yield
    finally:
        await stage.gateway.tell("logs", full=False)


@asynccontextmanager
async def _no_descriptors(stage: Stage) -> AsyncIterator[None]:
    pid = stage.gateway.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held(pid)["descriptors"], hard))
    try:
        async with beside(_hostile.newcomers(stage.gateway.host, stage.gateway.port)), _kill_one_by_one(stage):
            yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def _clock_jumps(stage: Stage) -> AsyncIterator[None]:
    async def go_on() -> None:
        while True:
            for jump in (3600.0, -3600.0, 86400.0):
                await stage.gateway.tell("clock", jump=jump)
                await asyncio.sleep(_APART)

    try:
        async with beside(go_on()):
            yield
    finally:
        await stage.gateway.tell("clock", jump=0.0)


@asynccontextmanager
async def _restarted(stage: Stage) -> AsyncIterator[None]:
    gateway = stage.gateway
    gateway.signal(signal.SIGTERM)
    status = await gateway.wait()
    await gateway.stop()
    if status:
        raise ModelError(f"the gateway ended with status {status}, where 0 was to be; its log says why")
    try:
        yield
    finally:
        await gateway.start()


@asynccontextmanager
async def _guests(attack: Callable[[str, int], Coroutine[None, None, None]], stage: Stage) -> AsyncIterator[None]:
    async with beside(attack(stage.gateway.host, stage.gateway.port)):
        yield


@asynccontextmanager
async def _grpc_guests(stage: Stage) -> AsyncIterator[None]:
    async with beside(_hostile.grpc_flood(stage.gateway.grpc)):
        yield


def _lie(kind: str, what: str, operator: str) -> Fault:
    return Fault(f"remote-{kind}", Layout.MIXED, partial(_lying, kind), what, "nothing: others answer", operator)


_AGAIN = "`collage_workers_lost_total`; it is started again"
_FAILS = "`collage_jobs_failed_total`; the worker is `pausing`, longer each time"

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "kill-worker", Layout.POOL, _kill_one_by_one, "SIGKILL of a worker, another each second", "nothing", _AGAIN
        ),
        Fault("kill-half", Layout.POOL, _kill_half, "SIGKILL of half the fleet at once", "later answers", _AGAIN),
        Fault(
            "stop-worker",
            Layout.POOL,
            partial(_stopped, _one),
            "SIGSTOP of a worker",
            "nothing, or a backup's answer",
            "the worker is `silent`",
        ),
        Fault(
            "stop-half",
            Layout.POOL,
            partial(_stopped, _half),
            "SIGSTOP of half the fleet",
            "later answers, some of a backup",
            "workers are `silent`",
        ),
        Fault(
            "kill-collage-worker",
            Layout.DEDICATED,
            _kill_collage,
            "SIGKILL of the collage's worker, each second",
            "singles' answers",
            f"{_AGAIN}; `collage_backups_paused`",
        ),
        Fault(
            "stop-collage-worker",
            Layout.DEDICATED,
            partial(_stopped, _collage),
            "SIGSTOP of the collage's worker",
            "singles' answers",
            "the worker is `silent`; `collage_backups_paused`",
        ),
        _lie("garbage", "a remote worker answers with bytes that are no JSON", _FAILS),
        _lie("nan", "a remote worker answers NaN", _FAILS),
        _lie("shape", "a remote worker's answers have another shape", _FAILS),
        _lie("other-id", "a remote worker's answers have another job's id", _FAILS),
        _lie("twice", "a remote worker sends each answer twice", "nothing: the second is never read"),
        _lie("drip", "a remote worker sends a byte a second", "the worker is `silent`, its calls time out"),
        Fault(
            "remote-restart",
            Layout.MIXED,
            _remote_restarts,
            "a remote server is killed, and started again later",
            "nothing",
            "`collage_workers_up` is one less until it is ready again",
        ),
        Fault(
            "disk-full",
            Layout.POOL,
            _no_room_for_logs,
            "no room for logs, while workers are killed",
            "nothing",
            "no logs; metrics go on",
        ),
        Fault(
            "no-descriptors",
            Layout.POOL,
            _no_descriptors,
            "no file descriptor is left, while workers are killed and clients connect",
            "those that are connected: later answers; new ones: closed, or kept waiting",
            "`collage_workers_up` sinks; the log says why; all are back once there are descriptors",
        ),
        Fault(
            "clock-jumps",
            Layout.POOL,
            _clock_jumps,
            "the wall clock jumps by hours and a day, back and forth",
            "nothing",
            "nothing but odd times in the log",
        ),
        Fault(
            "sigterm",
            Layout.POOL,
            _restarted,
            "SIGTERM of the gateway in mid-load, and a new one at its address",
            "accepted queries are answered; later ones get 503, then no connection",
            "`/v2/health/ready` is 503, exit status 0",
        ),
        Fault(
            "grpc-flood",
            Layout.POOL,
            _grpc_guests,
            "calls over gRPC, a hundred at once on a connection, of broken messages and of methods that are none",
            "INVALID_ARGUMENT, UNIMPLEMENTED; others: nothing",
            '`collage_grpc_calls_total{code="INVALID_ARGUMENT"}`',
        ),
        *(
            Fault(name, Layout.POOL, partial(_guests, attack), what, seen, operator)
            for name, attack, what, seen, operator in (
                (
                    "slow-clients",
                    _hostile.slow_clients,
                    "200 clients that send a byte a second",
                    "the slow ones: 408, or closed; others: nothing",
                    '`collage_http_responses_total{status="408"}`',
                ),
                (
                    "half-open",
                    _hostile.half_open,
                    "200 connections that go silent within a request",
                    "others: nothing",
                    "descriptors, until `head_seconds` and `body_seconds` are over",
                ),
                (
                    "header-flood",
                    _hostile.header_flood,
                    "clients that send headers without end",
                    "they are cut off; others: nothing",
                    "nothing",
                ),
                (
                    "big-requests",
                    _hostile.big_requests,
                    "requests of 10,000 images",
                    "413 at once; others: nothing",
                    '`collage_http_responses_total{status="413"}`',
                ),
                (
                    "endless-bodies",
                    _hostile.endless_bodies,
                    "bodies in chunks without end, fast and slow ones",
                    "413 at the limit, 408 after `body_seconds`; others: nothing",
                    "`collage_http_body_bytes` stays below `max_held_bytes`",
                ),
                (
                    "pipelines",
                    _hostile.pipelines,
                    "connections with a hundred requests at once, whose answers nobody reads",
                    "they are answered one after the other; others: nothing",
                    "nothing",
                ),
                (
                    "bombs",
                    _hostile.bombs,
                    "small files that say, or become, something large",
                    "413, or 400 once they are decoded; others: later answers where cores are few",
                    '`collage_http_responses_total{status="413"}`',
                ),
            )
        ),
    )
}
