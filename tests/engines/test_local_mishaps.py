"""Real worker processes that die, hang, lie or cannot be made."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import LocalEngine, Submission, _process
from collage.exceptions import ModelError

from .jobs import FOREVER, Run, image


def test_a_killed_worker_is_reported_and_comes_back(run: Run, recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, {"a": frozenset({Role.SINGLE})}, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        await recorder.next("up")
        first = engine.workers["a"]
        assert first is not None
        engine.submit(Submission(1, "a", Role.SINGLE, image(1.0)))
        os.kill(first, signal.SIGKILL)
        assert await recorder.next() == ("down", "a", "the process ended")
        engine.submit(Submission(2, "a", Role.SINGLE, image(1.0)))
        assert await recorder.next() == ("failed", 2, "worker a is down")
        engine.hold = None
        await recorder.next("up")
        assert engine.workers["a"] not in (None, first)
        engine.submit(Submission(3, "a", Role.SINGLE, image(0.5)))
        event = await recorder.next("completed")
        assert event[1] == 3
        np.testing.assert_allclose(event[2], [[0.5]])
        await engine.stop()
        assert recorder.silent()

    run(main())


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
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
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
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
        assert recorder.silent()
        os.kill(pid, signal.SIGCONT)
        assert (await recorder.next("completed"))[1] == 1
        await engine.stop()

    asyncio.run(main())


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
                engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
            assert "it sent garbage" in (await recorder.next("down"))[2]
            await starting
        else:
            with pytest.raises(ModelError, match="it sent garbage"):
                await starting
            starting = asyncio.create_task(engine.start(recorder))
        await recorder.next("up")
        engine.submit(Submission(2, "w0", Role.SINGLE, image(0.5)))
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
