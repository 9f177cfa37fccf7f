"""Open-loop load: sent at its time, timed from its time, however the service does."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from collage.bench._load import OpenLoop


def test_requests_are_sent_in_order_while_none_is_answered() -> None:
    arrivals = np.linspace(0.001, 0.05, 40)
    sent: list[int] = []

    async def scenario() -> OpenLoop:
        all_sent = asyncio.Event()

        async def send(index: int) -> bool:
            sent.append(index)
            if len(sent) == len(arrivals):
                all_sent.set()
            await all_sent.wait()  # a service that answers nobody before it has heard everybody
            return True

        load = OpenLoop(arrivals, send)
        await load.run()
        return load

    load = asyncio.run(scenario())
    assert sent == list(range(len(arrivals)))
    # The first waited for the last to be sent: 49 ms at least, on any machine.
    assert load.latencies[0] >= arrivals[-1] - arrivals[0]
    assert (load.lateness >= 0).all()


def test_a_gateway_that_is_busy_costs_the_requests_that_were_due() -> None:
    """Coordinated omission would hide the stall: only one request would have seen it."""
    arrivals = np.array([0.01, 0.02, 0.03, 0.04])

    async def scenario() -> OpenLoop:
        stalled = False

        async def send(index: int) -> bool:
            nonlocal stalled
            if not stalled:
                stalled = True
                block_until(began + 0.2)
            return True

        loop = asyncio.get_running_loop()
        began = loop.time()

        def block_until(when: float) -> None:
            while loop.time() < when:
                pass

        load = OpenLoop(arrivals, send)
        await load.run()
        return load

    load = asyncio.run(scenario())
    assert (load.latencies > 0.1).all()
    assert (load.latencies >= load.lateness).all()


def test_an_unanswered_request_has_no_latency() -> None:
    async def scenario() -> OpenLoop:
        async def send(index: int) -> bool:
            return index != 1

        load = OpenLoop(np.array([0.0, 0.001, 0.002]), send)
        await load.run()
        return load

    assert np.isnan(asyncio.run(scenario()).latencies).tolist() == [False, True, False]


def test_a_fault_ends_the_load_and_is_told() -> None:
    async def scenario() -> None:
        async def send(index: int) -> bool:
            if index:
                await asyncio.Event().wait()  # would never be answered
            raise ZeroDivisionError

        await OpenLoop(np.array([0.0, 0.001, 3600.0]), send).run()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())


def test_a_fault_of_whoever_watches_ends_the_load_and_is_told() -> None:
    async def scenario() -> None:
        async def send(index: int) -> bool:
            return True

        def watch(index: int) -> None:
            raise ZeroDivisionError

        await OpenLoop(np.array([0.0, 3600.0]), send).run(watch)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scenario())


def test_an_interrupt_ends_the_load_though_more_requests_are_due() -> None:
    """The interrupt leaves the loop at once; requests that are queued behind it must not be begun while it closes."""
    begun: list[int] = []

    def interrupt(index: int) -> None:
        begun.append(index)
        for thread in threading.enumerate():
            if thread.name == "collage load":
                thread.join()  # now all are queued
        raise KeyboardInterrupt

    async def send(index: int) -> bool:
        return True

    async def scenario() -> None:
        await OpenLoop(np.zeros(20), send).run(interrupt)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(scenario())
    assert begun == [0]
