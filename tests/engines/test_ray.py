"""The `ray` engine on a real cluster of three nodes, each a raylet of its own, and a node that dies and one that joins.

Skipped where Ray is not installed: tests/remote/make-ray.sh makes an environment with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import CancelEffect, RayEngine, RayOptions, Submission
from collage.exceptions import ModelError, SettingsError

from ..waiting import ended, until
from .jobs import FOREVER, Run, image

pytest.importorskip("ray", reason="no Ray: tests/remote/make-ray.sh makes an environment with it")
pytestmark = pytest.mark.ray

STORE = 80 * 2**20
BOTH = frozenset({Role.SINGLE, Role.COLLAGE})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def options(cluster: Any) -> RayOptions:
    return RayOptions(address=cluster.address)


async def gone(process: int) -> None:
    await until(lambda: ended(process), f"process {process} has ended")


def test_workers_are_spread_and_each_role_runs_its_own_model(
    run: Run, recorder: Any, means: Path, doubled: Path, options: RayOptions
) -> None:
    async def main() -> None:
        engine = RayEngine({Role.SINGLE: means, Role.COLLAGE: doubled}, 3, options=options)
        assert engine.cancel_effect is CancelEffect.NOTHING
        await engine.start(recorder)
        ups = [await recorder.next("up") for _ in range(3)]
        assert {up[1] for up in ups} == {"w0", "w1", "w2"}
        assert all(up[2:] == (BOTH, 1) for up in ups)
        assert len({node for node, _ in engine.places.values()}) == 3

        large = image(0.25, 0.5, 0.75, side=300)  # more than travels in a message
        engine.submit(Submission(1, "w0", Role.SINGLE, large))
        engine.submit(Submission(2, "w1", Role.COLLAGE, image(3.0)))
        outputs = {event[1]: event[2] for event in [await recorder.next("completed") for _ in range(2)]}
        np.testing.assert_allclose(outputs[1], [[0.25, 0.5, 0.75]], rtol=1e-5)
        np.testing.assert_allclose(outputs[2], np.full((1, 1, 4, 4), 6.0))

        engine.submit(Submission(3, "w2", Role.COLLAGE, image(1.0, side=5)))
        assert "Got: 5 Expected: 4" in (await recorder.next("failed"))[2]
        with pytest.raises(ValueError, match="no model for a cheap"):
            engine.submit(Submission(4, "w0", Role.CHEAP, image(1.0)))
        processes = [process for _, process in engine.places.values()]
        await engine.stop()
        for process in processes:  # nobody of ours is left on the cluster
            await gone(process)
        assert recorder.silent()

    run(main())


def test_a_worker_that_dies_or_hangs_is_made_again_by_ray(recorder: Any, means: Path, options: RayOptions) -> None:
    async def main() -> None:
        engine = RayEngine({Role.SINGLE: means}, 1, options=options, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        await recorder.next("up")
        engine.submit(Submission(1, "w0", Role.SINGLE, image(0.5)))
        with pytest.raises(ValueError, match="busy"):
            engine.submit(Submission(2, "w0", Role.SINGLE, image(0.5)))
        os.kill(engine.places["w0"][1], signal.SIGKILL)
        assert (await recorder.next("down"))[1] == "w0"  # and nothing of its job
        engine.submit(Submission(3, "w0", Role.SINGLE, image(0.5)))
        assert (await recorder.next("failed"))[1:] == (3, "worker w0 is down")
        assert (await recorder.next("up"))[1] == "w0"

        os.kill(engine.places["w0"][1], signal.SIGKILL)  # nobody waits for a job of it, and yet it is heard of
        await recorder.next("down")
        await recorder.next("up")

        engine._hung_seconds = 0.2
        engine.submit(Submission(4, "w0", Role.SINGLE, image(0.5)))
        assert "more than 0.2 s" in (await recorder.next("down"))[2]
        await recorder.next("up")
        engine.hold = None
        engine.submit(Submission(5, "w0", Role.SINGLE, image(0.5)))
        assert (await recorder.next("completed"))[1] == 5
        await engine.stop()

    asyncio.run(main())


def test_workers_join_when_there_is_room_and_leave(recorder: Any, means: Path, options: RayOptions) -> None:
    async def main() -> None:
        engine = RayEngine({Role.SINGLE: means}, 3, options=options)
        await engine.start(recorder)
        for _ in range(3):
            await recorder.next("up")
        engine.add("w3", frozenset({Role.SINGLE}))
        with pytest.raises(ValueError, match="a worker w3 already"):
            engine.add("w3", frozenset({Role.SINGLE}))
        assert engine.removable("w0")
        process = engine.places["w0"][1]
        engine.remove("w0")
        assert (await recorder.next("down"))[1] == "w0"
        assert (await recorder.next("up"))[1] == "w3"  # in its place
        await gone(process)
        engine.submit(Submission(1, "w3", Role.SINGLE, image(0.5)))
        assert (await recorder.next("completed"))[1] == 1
        with pytest.raises(ValueError, match="no worker w0"):
            engine.remove("w0")
        await engine.stop()

    asyncio.run(main())


def test_a_node_dies_and_another_joins(recorder: Any, means: Path, options: RayOptions, cluster: Any) -> None:
    async def main() -> None:
        engine = RayEngine({Role.SINGLE: means}, 3, options=options, hold=lambda *_: FOREVER)
        await engine.start(recorder)
        for _ in range(3):
            await recorder.next("up")
        node = cluster.worker_nodes.copy().pop()
        (lost,) = [worker for worker, (where, _) in engine.places.items() if where == node.node_id]
        engine.submit(Submission(1, lost, Role.SINGLE, image(0.5)))
        cluster.remove_node(node, allow_graceful=False)
        assert (await recorder.next("down"))[1] == lost
        cluster.add_node(num_cpus=1, object_store_memory=STORE)  # until then there is no room
        assert (await recorder.next("up"))[1] == lost
        engine.hold = None
        engine.submit(Submission(2, lost, Role.SINGLE, image(0.5)))
        assert (await recorder.next("completed"))[1] == 2
        await engine.stop()

    asyncio.run(main())


def test_what_cannot_start_says_why_in_one_line(
    recorder: Any, means: Path, tmp_path: Path, cluster: Any, options: RayOptions
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    async def start(models: Any, options: RayOptions) -> None:
        engine = RayEngine(models, 1, options=options)
        await engine.start(recorder)

    with pytest.raises(ModelError, match=r"no worker could start: .*InvalidProtobuf.*[^\n]*$"):
        asyncio.run(start({Role.SINGLE: broken}, options))
    with pytest.raises(ModelError, match=r"absent\.onnx: cannot be read \(No such file or directory\)$"):
        asyncio.run(start({Role.SINGLE: tmp_path / "absent.onnx"}, options))
    much = RayOptions(address=cluster.address, cpus=64, start_seconds=0.5)
    with pytest.raises(ModelError, match=r"not placed .* within 0\.5 s: it asks for 64 CPU of one node; .*3 CPU"):
        asyncio.run(start({Role.SINGLE: means}, much))
    gpu = RayOptions(address=cluster.address, gpus=0.5, start_seconds=0.5)
    with pytest.raises(ModelError, match=r"asks for 1 CPU and 0\.5 GPU of one node; .*0 of 0 GPU"):
        asyncio.run(start({Role.SINGLE: means}, gpu))
    with pytest.raises(SettingsError, match=r"nothing answers at 127\.0\.0\.1:1 "):
        asyncio.run(start({Role.SINGLE: means}, RayOptions(address="127.0.0.1:1")))
    assert recorder.silent()


def test_a_cluster_of_its_own_ends_with_the_engine(recorder: Any, means: Path) -> None:
    import ray

    async def main() -> None:
        engine = RayEngine({Role.SINGLE: means}, 2, options=RayOptions(cpus=0.5))
        await engine.start(recorder)
        for _ in range(2):
            await recorder.next("up")
        engine.submit(Submission(1, "w1", Role.SINGLE, image(0.5)))
        assert (await recorder.next("completed"))[1] == 1
        processes = [process for _, process in engine.places.values()]
        await engine.stop()
        await engine.stop()
        for process in processes:
            await gone(process)
        assert not ray.is_initialized()

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is before
