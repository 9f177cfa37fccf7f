"""`collage serve --engine ray`: a real gateway process on a Ray cluster of its own, on this machine.

Skipped where Ray is not installed: tests/remote/make-ray.sh makes an environment with it.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from collage.exceptions import SettingsError
from collage.serving import DataPlane, Encoded, load_settings

from ..waiting import ended, until, wait_until


def test_settings_of_ray_belong_to_its_engine() -> None:
    with pytest.raises(SettingsError, match="ray_cpus: the engine is local; say engine = 'ray', too"):
        load_settings(ray_cpus=0.5)
    with pytest.raises(SettingsError, match="engine: the fleet file says so of each worker"):
        load_settings(engine="ray", fleet="fleet.toml")
    assert load_settings(engine="ray", ray_address="none").ray_address is None


@pytest.mark.ray
def test_workers_join_and_leave_and_none_outlives_the_gateway(start_gateway: Any, png: Any) -> None:
    pytest.importorskip("ray", reason="no Ray: tests/remote/make-ray.sh makes an environment with it")
    gateway = start_gateway(engine="ray", ray_cpus=0.5)
    for level in range(10):
        status, answer, _ = gateway.ask("POST", "/v1/classify", png(level))
        assert (status, answer["label"]) == (200, f"g{level}")

    def workers() -> dict[str, str]:
        time.sleep(0.1)  # each request is a line of a log that nobody reads before the end
        return {worker["id"]: worker["state"] for worker in gateway.ask("GET", "/v1/workers")[1]["workers"]}

    assert gateway.ask("POST", "/v1/workers")[:2] == (201, {"added": ["w2"]})
    wait_until(lambda: workers()["w2"] == "up", "w2 is up")
    assert gateway.ask("DELETE", "/v1/workers/w0")[0] in (200, 202)
    wait_until(lambda: "w0" not in workers(), "w0 has left")
    assert gateway.ask("POST", "/v1/classify", png(3))[1]["label"] == "g3"
    status, errors = gateway.stop()
    assert status == 0
    processes = re.findall(r"is up on node \w+, process (\d+)", errors)
    assert len(processes) == 3, errors
    for process in processes:
        wait_until(lambda: ended(int(process)), f"process {process} has ended")  # noqa: B023


@pytest.mark.ray
def test_workers_follow_the_load(models: dict[str, Path], png: Any) -> None:
    pytest.importorskip("ray", reason="no Ray: tests/remote/make-ray.sh makes an environment with it")
    settings = load_settings(
        single=str(models["single"]),
        policy="none",
        engine="ray",
        ray_cpus=0.5,
        workers=1,
        max_workers=2,
        scale_down_seconds=1.0,
    )

    async def main() -> None:
        plane = DataPlane(settings, hold=lambda *_: 0.1)
        await plane.start()
        assert plane.roster is not None

        async def ask() -> None:
            (answer,) = await plane.classify([Encoded(png(6))], deadline=60.0)
            assert answer.label == "g6"

        while len(plane.view().workers) < 2:  # more than one can do; the test's own timeout is the limit
            await asyncio.gather(*(ask() for _ in range(8)))
        await until(lambda: len(plane.roster.there) == 1, "one worker is left, as nobody asks")
        await ask()
        await plane.stop()

    asyncio.run(main())
