"""Real worker processes: what they answer, and what happens when they die, hang or lie."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import CancelEffect, LocalEngine, _process
from collage.exceptions import ModelError

Run = Callable[[Coroutine[Any, Any, None]], None]
FOREVER = 1000.0  # a job that never ends within a test

BOTH = frozenset({Role.SINGLE, Role.COLLAGE})


def image(*means: float, side: int = 4) -> np.ndarray:
    """(1, C, side, side), each channel of one value."""
    return np.broadcast_to(np.float32(means).reshape(1, -1, 1, 1), (1, len(means), side, side))


def test_each_role_runs_its_own_model(run: Run, recorder: Any, means: Path, doubled: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means, Role.COLLAGE: doubled}, 2)
        assert engine.cancel_effect is CancelEffect.NOTHING
        await engine.start(recorder)
        ups = [await recorder.next("up") for _ in range(2)]
        assert {up[1] for up in ups} == {"w0", "w1"}
        assert all(up[2:] == (BOTH, 1) for up in ups)
        assert len(set(engine.workers.values())) == 2

        engine.submit(1, "w0", Role.SINGLE, image(0.25, 0.5, 0.75))
        engine.submit(2, "w1", Role.COLLAGE, image(3.0))
        outputs = {event[1]: event[2] for event in [await recorder.next("completed") for _ in range(2)]}
        np.testing.assert_allclose(outputs[1], [[0.25, 0.5, 0.75]])
        np.testing.assert_allclose(outputs[2], np.full((1, 1, 4, 4), 6.0))
        await engine.stop()
        assert recorder.silent()

    run(main())


def test_inputs_of_any_size(run: Run, recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        await recorder.next("up")
        for job, side in enumerate([28, 416, 5, 700]):
            engine.submit(job, "w0", Role.SINGLE, image(0.5, job, side=side))
            event = await recorder.next("completed")
            assert event[1] == job
            np.testing.assert_allclose(event[2], [[0.5, job]], rtol=1e-5)
        await engine.stop()

    run(main())


def test_inputs_that_do_not_fit_fail_the_job_only(recorder: Any, doubled: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: doubled}, 1)
        await engine.start(recorder)
        await recorder.next("up")
        engine.submit(1, "w0", Role.SINGLE, image(1.0, side=5))
        assert "Got: 5 Expected: 4" in (await recorder.next("failed"))[2]
        engine.submit(2, "w0", Role.SINGLE, image(1.0))
        assert (await recorder.next("completed"))[1] == 2
        await engine.stop()

    asyncio.run(main())


def test_what_can_never_run_is_refused(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        for arguments, message in [
            ((1, "w7", Role.SINGLE, image(1.0)), "no worker w7"),
            ((1, "w0", Role.COLLAGE, image(1.0)), "no model for a collage of 1"),
            ((1, "w0", Role.SINGLE, image(1.0)[0]), r"float32 \(n, C, H, W\)"),
            ((1, "w0", Role.SINGLE, image(1.0).astype(np.float64)), "not float64"),
        ]:
            with pytest.raises(ValueError, match=message):
                engine.submit(*arguments)
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        with pytest.raises(ValueError, match="busy"):
            engine.submit(2, "w0", Role.SINGLE, image(1.0))
        await engine.stop()

    asyncio.run(main())
    with pytest.raises(ValueError, match="at least one"):
        LocalEngine({Role.SINGLE: means}, 0)
    with pytest.raises(ValueError, match="worker a needs roles out of"):
        LocalEngine({Role.SINGLE: means}, {"a": frozenset({Role.CHEAP})})


def test_a_killed_worker_is_reported_and_comes_back(run: Run, recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, {"a": frozenset({Role.SINGLE})}, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        await recorder.next("up")
        first = engine.workers["a"]
        assert first is not None
        engine.submit(1, "a", Role.SINGLE, image(1.0))
        os.kill(first, signal.SIGKILL)
        assert await recorder.next() == ("down", "a", "the process ended")
        engine.submit(2, "a", Role.SINGLE, image(1.0))
        assert await recorder.next() == ("failed", 2, "worker a is down")
        engine.hold = None
        await recorder.next("up")
        assert engine.workers["a"] not in (None, first)
        engine.submit(3, "a", Role.SINGLE, image(0.5))
        event = await recorder.next("completed")
        assert event[1] == 3
        np.testing.assert_allclose(event[2], [[0.5]])
        await engine.stop()
        assert recorder.silent()

    run(main())


def test_a_worker_without_a_process_has_no_process_id(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        assert engine.workers["w0"] is not None
        await engine.stop()
        assert engine.workers == {"w0": None}

    asyncio.run(main())


def test_a_worker_that_dies_again_and_again_is_started_again(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        for _ in range(3):
            await recorder.next("up")
            os.kill(engine.workers["w0"] or 0, signal.SIGKILL)
            await recorder.next("down")
        await recorder.next("up")
        await engine.stop()

    asyncio.run(main())


def test_a_frozen_worker_is_killed_when_its_job_takes_too_long(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1, hung_seconds=0.05)
        await engine.start(recorder)
        await recorder.next("up")
        first = engine.workers["w0"]
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        assert await recorder.next() == ("down", "w0", "a job ran for more than 0.05 s")
        await recorder.next("up")
        assert engine.workers["w0"] != first
        await engine.stop()

    asyncio.run(main())


def test_a_frozen_worker_that_wakes_up_answers(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        await recorder.next("up")
        pid = engine.workers["w0"] or 0
        os.kill(pid, signal.SIGSTOP)
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        assert recorder.silent()
        os.kill(pid, signal.SIGCONT)
        assert (await recorder.next("completed"))[1] == 1
        await engine.stop()

    asyncio.run(main())


def test_ctrl_c_and_sigterm_are_the_gateways_business(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        await recorder.next("up")
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(engine.workers["w0"] or 0, number)
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        await recorder.next("completed")
        await engine.stop()

    asyncio.run(main())


def test_hold_keeps_the_slot_for_the_drawn_time(recorder: Any, means: Path) -> None:
    asked = []

    def hold(worker: str, role: Role) -> float:
        asked.append((worker, role))
        return 0.05

    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1, hold=hold)
        await engine.start(recorder)
        await recorder.next("up")
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        engine.cancel(1)  # changes nothing: it runs to its end and says so
        assert (await recorder.next("completed"))[3] >= 0.05
        engine.straggle("w0", seconds_per_job=0.2, for_seconds=FOREVER)
        engine.submit(2, "w0", Role.SINGLE, image(1.0))
        assert (await recorder.next("completed"))[3] >= 0.2
        engine.straggle("w0", seconds_per_job=FOREVER, for_seconds=0.0)
        engine.submit(3, "w0", Role.SINGLE, image(1.0))
        await recorder.next("completed")
        with pytest.raises(ValueError, match="no worker"):
            engine.straggle("x", 1.0, 1.0)
        await engine.stop()

    asyncio.run(main())
    assert asked == [("w0", Role.SINGLE)] * 3


def test_another_owner_takes_over_running_workers(recorder: Any, means: Path) -> None:
    async def main() -> None:
        after = type(recorder)()
        engine = LocalEngine({Role.SINGLE: means}, 2, hold=lambda worker, _: 0.3 if worker == "w0" else 0.0)
        await engine.start(recorder)
        before = dict(engine.workers)
        for _ in range(2):
            await recorder.next("up")
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        engine.attach(after)
        assert (await after.next("up"))[1] == "w1"
        engine.submit(1, "w1", Role.SINGLE, image(0.5))  # the new owner counts from one again
        heard = {event[0]: event for event in [await after.next(), await after.next()]}
        np.testing.assert_allclose(heard["completed"][2], [[0.5]])
        assert heard["up"][1] == "w0"  # once its old job is over
        assert recorder.silent()
        assert after.silent()
        assert engine.workers == before
        await engine.stop()

    asyncio.run(main())


def test_models_that_cannot_be_loaded(recorder: Any, tmp_path: Path, means: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")

    async def main() -> None:
        with pytest.raises(ModelError, match=r"no worker could start: .*broken\.onnx"):
            await LocalEngine({Role.SINGLE: broken}, 1).start(recorder)
        assert recorder.silent()
        engine = LocalEngine(
            {Role.SINGLE: means, Role.COLLAGE: broken},
            {"good": frozenset({Role.SINGLE}), "bad": frozenset({Role.COLLAGE})},
        )
        await engine.start(recorder)
        assert (await recorder.next("up"))[1] == "good"
        engine.submit(1, "good", Role.SINGLE, image(1.0))
        await recorder.next("completed")
        await engine.stop()

    asyncio.run(main())


def test_stop_leaves_no_process_whenever_it_comes(run: Run, recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 2, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        pids = list(engine.workers.values())
        engine.submit(1, "w0", Role.SINGLE, image(1.0))
        await engine.stop()
        await engine.stop()
        starting = asyncio.create_task(engine.start(recorder))
        while None in (again := list(engine.workers.values())) or set(again) & set(pids):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        for pid in pids + again:
            with pytest.raises(ProcessLookupError):
                os.kill(pid or 0, 0)

    run(main())


_OWNER = """
import asyncio, sys
from pathlib import Path
from collage.dispatch import Role
from collage.engines import LocalEngine
import numpy as np

class Listener:
    def worker_up(self, *_): pass

async def main():
    engine = LocalEngine({Role.SINGLE: Path(sys.argv[1])}, 3, hold=lambda *_: 1000.0)
    await engine.start(Listener())
    engine.submit(1, "w0", Role.SINGLE, np.zeros((1, 1, 4, 4), np.float32))
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_workers_die_with_a_killed_gateway(means: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(means)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stderr is not None
        assert owner.stdout.readline() == b"up\n"
        owner.kill()
        # The workers share its stderr: the end of it is the end of them all, the busy one too.
        assert owner.stderr.read() == b""


_LIAR = """#!{python}
import os, socket, struct, sys
from pathlib import Path
from collage.engines._wire import HEADER, MAGIC, Frame, Kind, pack

told = Path({told!r})
if told.exists():
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
told.touch()
sock = socket.socket(fileno=int(sys.argv[4]))
ready, done = pack(Frame(Kind.READY)), lambda **k: pack(Frame(Kind.DONE, **k))
lie = {lie!r}
if lie == "junk":
    sock.sendall(b"GET / HTTP/1.1\\r\\n" * 20)
elif lie == "answers unasked":
    sock.sendall(ready + done(job=0))
else:
    sock.sendall(ready)
    sock.recv(HEADER.size)
    sock.sendall({{
        "wrong job": done(job=2, shape=(1,), payload=bytes(4)),
        "wrong shape": done(job=1, shape=(2,), payload=bytes(4)),
        "oversize": HEADER.pack(MAGIC, Kind.DONE, 0, 1, 1, 0.0, 1, *[0] * 7, 2**32 - 1),
        "time is nan": done(job=1, seconds=float("nan")),
        "ready twice": ready,
        "unknown kind": HEADER.pack(MAGIC, 99, 0, 0, 1, 0.0, *[0] * 8, 0),
    }}[lie])
sock.recv(1)
"""


@pytest.mark.parametrize(
    "lie",
    ["junk", "answers unasked", "wrong job", "wrong shape", "oversize", "time is nan", "ready twice", "unknown kind"],
)
def test_a_worker_that_sends_garbage_is_replaced(
    lie: str, recorder: Any, means: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "liar"
    liar.write_text(_LIAR.format(python=sys.executable, told=str(tmp_path / "told"), lie=lie))
    liar.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(liar))

    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        starting = asyncio.create_task(engine.start(recorder))
        if lie != "junk":  # which is noticed before the worker is up
            await recorder.next("up")
            if lie != "answers unasked":
                engine.submit(1, "w0", Role.SINGLE, image(1.0))
            assert "it sent garbage" in (await recorder.next("down"))[2]
            await starting
        else:
            with pytest.raises(ModelError, match="it sent garbage"):
                await starting
            starting = asyncio.create_task(engine.start(recorder))
        await recorder.next("up")
        engine.submit(2, "w0", Role.SINGLE, image(0.5))
        event = await recorder.next("completed")
        assert event[1] == 2
        np.testing.assert_allclose(event[2], [[0.5]])
        await starting
        await engine.stop()

    asyncio.run(main())


def test_a_worker_that_could_not_be_made_is_made_later(
    run: Run, recorder: Any, means: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = _process.Window, []

    def exhausted() -> _process.Window:
        tries.append(1)
        if len(tries) <= 2:
            raise OSError(24, "Too many open files")
        return real()

    monkeypatch.setattr(_process, "Window", exhausted)

    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 2)
        with pytest.raises(ModelError, match="Too many open files"):
            await engine.start(recorder)
        await engine.stop()
        tries.clear()
        tries.append(1)
        engine = LocalEngine({Role.SINGLE: means}, 2)
        await engine.start(recorder)  # one of the two is there
        assert {(await recorder.next("up"))[1] for _ in range(2)} == {"w0", "w1"}
        await engine.stop()

    run(main())
