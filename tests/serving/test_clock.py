"""The gateway's clock, on uvloop's loop, whose own counts whole milliseconds."""

from __future__ import annotations

import asyncio

import pytest

from collage.serving._clock import LoopClock

uvloop = pytest.importorskip("uvloop", reason="needs uvloop")


def test_time_is_finer_than_a_millisecond() -> None:
    async def main() -> None:
        clock = LoopClock()
        steps = {clock.time() for _ in range(1000)}
        assert any(round(step, 3) != round(step, 6) for step in steps)
        own = asyncio.get_running_loop().time()
        assert own == round(own, 3)  # or there were no need for another

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_timers_come_in_order_and_can_be_called_off() -> None:
    async def main() -> None:
        clock, over, rung = LoopClock(), asyncio.Event(), []
        now = clock.time()
        clock.call_at(now + 0.04, over.set)
        clock.call_at(now + 0.02, lambda: rung.append("later"))
        clock.call_at(now - 1, lambda: rung.append("past"))
        clock.call_at(now + 0.01, lambda: rung.append("off")).cancel()
        await over.wait()
        assert rung == ["past", "later"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
