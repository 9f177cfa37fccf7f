"""Real worker processes: what they answer, who owns them, and how they are stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import CancelEffect, LocalEngine, Submission
from collage.exceptions import ModelError

from ..waiting import until
from .jobs import FOREVER, Run, image

BOTH = frozenset({Role.SINGLE, Role.COLLAGE})


def test_each_role_runs_its_own_model(run: Run, recorder: Any, means: Path, doubled: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means, Role.COLLAGE: doubled}, 2)
        assert engine.cancel_effect is CancelEffect.NOTHING
        await engine.start(recorder)
        ups = [await recorder.next("up") for _ in range(2)]
        assert {up[1] for up in ups} == {"w0", "w1"}
        assert all(up[2:] == (BOTH, 1) for up in ups)
        assert len(set(engine.workers.values())) == 2

        engine.submit(Submission(1, "w0", Role.SINGLE, image(0.25, 0.5, 0.75)))
        engine.submit(Submission(2, "w1", Role.COLLAGE, image(3.0)))
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
            engine.submit(Submission(job, "w0", Role.SINGLE, image(0.5, job, side=side)))
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
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0, side=5)))
        assert "Got: 5 Expected: 4" in (await recorder.next("failed"))[2]
        engine.submit(Submission(2, "w0", Role.SINGLE, image(1.0)))
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
                engine.submit(Submission(*arguments))
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
        with pytest.raises(ValueError, match="busy"):
            engine.submit(Submission(2, "w0", Role.SINGLE, image(1.0)))
        await engine.stop()

    asyncio.run(main())
    with pytest.raises(ValueError, match="at least one"):
        LocalEngine({Role.SINGLE: means}, 0)
    with pytest.raises(ValueError, match="worker a needs roles out of"):
        LocalEngine({Role.SINGLE: means}, {"a": frozenset({Role.CHEAP})})


def test_a_worker_without_a_process_has_no_process_id(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        assert engine.workers["w0"] is not None
        await engine.stop()
        assert engine.workers == {"w0": None}

    asyncio.run(main())


def test_workers_are_behind_the_gateway_where_both_want_to_run(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1, nice=7)
        await engine.start(recorder)
        here, there = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, engine.workers["w0"] or 0))
        assert there == min(19, here + 7)
        await engine.stop()

    asyncio.run(main())


def test_ctrl_c_and_sigterm_are_the_gateways_business(recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 1)
        await engine.start(recorder)
        await recorder.next("up")
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(engine.workers["w0"] or 0, number)
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
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
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
        engine.cancel(1)  # changes nothing: it runs to its end and says so
        assert (await recorder.next("completed"))[3] >= 0.05
        engine.straggle("w0", seconds_per_job=0.2, for_seconds=FOREVER)
        engine.submit(Submission(2, "w0", Role.SINGLE, image(1.0)))
        assert (await recorder.next("completed"))[3] >= 0.2
        engine.straggle("w0", seconds_per_job=FOREVER, for_seconds=0.0)
        engine.submit(Submission(3, "w0", Role.SINGLE, image(1.0)))
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
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
        engine.attach(after)
        assert (await after.next("up"))[1] == "w1"
        engine.submit(Submission(1, "w1", Role.SINGLE, image(0.5)))  # the new owner counts from one again
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
        engine.submit(Submission(1, "good", Role.SINGLE, image(1.0)))
        await recorder.next("completed")
        await engine.stop()

    asyncio.run(main())


def test_stop_leaves_no_process_whenever_it_comes(run: Run, recorder: Any, means: Path) -> None:
    async def main() -> None:
        engine = LocalEngine({Role.SINGLE: means}, 2, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        pids = list(engine.workers.values())
        engine.submit(Submission(1, "w0", Role.SINGLE, image(1.0)))
        await engine.stop()
        await engine.stop()
        starting = asyncio.create_task(engine.start(recorder))
        await until(lambda: None not in engine.workers.values(), "both have a process again, which is not up yet")
        again = list(engine.workers.values())
        assert not set(again) & set(pids)
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
from collage.engines import LocalEngine, Submission
import numpy as np

class Listener:
    def worker_up(self, *_): pass

async def main():
    engine = LocalEngine({Role.SINGLE: Path(sys.argv[1])}, 3, hold=lambda *_: 1000.0)
    await engine.start(Listener())
    engine.submit(Submission(1, "w0", Role.SINGLE, np.zeros((1, 1, 4, 4), np.float32)))
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
