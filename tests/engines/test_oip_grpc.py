"""Remote workers over gRPC: what they answer, and what happens when they are not ready, die, hang or lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from collage.dispatch import Role
from collage.engines import OipEngine, OipOptions, OipServer, Submission, TlsOptions
from collage.exceptions import SettingsError
from collage.oip import write_parameters

from .jobs import RGB
from .remote import BOTH, MEANS
from .remote_grpc import GrpcRemote, answer


def test_each_role_runs_its_own_model_on_one_connection(recorder: Any) -> None:
    async def main() -> None:
        async with GrpcRemote() as remote:
            engine = OipEngine([remote.server(BOTH, slots=2, headers={"X-Tenant": "a"})])
            worker = f"127.0.0.1:{remote.port}"
            await engine.start(recorder)
            assert await recorder.next() == ("up", worker, frozenset(BOTH), 2)
            for job in range(3):
                engine.submit(Submission(2 * job, worker, Role.SINGLE, RGB + np.float32(job)))
                engine.submit(Submission(2 * job + 1, worker, Role.COLLAGE, np.full((1, 1, 4, 4), job, np.float32)))
                done = {event[1]: event for event in [await recorder.next("completed") for _ in range(2)]}
                np.testing.assert_allclose(done[2 * job][2], [[0.25 + job, 0.5 + job, 0.75 + job]])
                np.testing.assert_allclose(done[2 * job + 1][2], np.full((1, 1, 4, 4), 2.0 * job))
            assert len(remote.peers) == 1
            assert all(sent["x-tenant"] == "a" for sent in remote.metadata)
            assert {request.model_version for request in remote.requests} == {"", "2"}
            await engine.stop()
            await engine.stop()
            assert recorder.silent()

    asyncio.run(main())


def test_slots_of_a_balanced_url_have_connections_of_their_own(recorder: Any) -> None:
    async def main() -> None:
        async with GrpcRemote() as remote:
            engine = OipEngine([remote.server(slots=3, balanced=True)])
            await engine.start(recorder)
            ups = [await recorder.next("up") for _ in range(3)]
            for job in range(6):
                engine.submit(Submission(job, ups[job % 3][1], Role.SINGLE, RGB))
            for _ in range(6):
                await recorder.next("completed")
            assert len(remote.peers) == 3
            await engine.stop()

    asyncio.run(main())


def changed(change: Callable[[Any], object]) -> Any:
    """The right answer, but for this."""

    async def lie(request: Any, context: Any, inputs: Any) -> Any:
        response = await answer(request, context, inputs)
        change(response)
        return response

    return lie


def typed(values: list[float]) -> Callable[[Any], None]:
    def change(response: Any) -> None:
        del response.raw_output_contents[:]
        response.outputs[0].contents.fp32_contents.extend(values)

    return change


async def _no_message(*_: Any) -> bytes:
    return b"\xff\xff\xff\xff no message"


async def _refuse(_request: Any, context: Any, _inputs: Any) -> None:
    await context.abort(grpc.StatusCode.INTERNAL, "out of memory")


async def _hang(*_: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (changed(lambda r: setattr(r, "id", "another")), "to request 'another'"),
        (changed(lambda r: setattr(r, "model_name", "doubled")), "of model 'doubled'"),
        (changed(lambda r: setattr(r.outputs[0], "datatype", "FP64")), "is FP64, not FP32"),
        (changed(lambda r: setattr(r.outputs[0], "name", "z")), "no output 'y'"),
        (changed(lambda r: r.outputs[0].shape.__setitem__(1, 4)), "shape [1, 4]; [-1, 3] is needed"),
        (changed(lambda r: r.outputs[0].shape.__setitem__(0, -1)), "has no shape"),
        (changed(lambda r: r.raw_output_contents.__setitem__(0, b"abc")), "has 3 bytes"),
        (changed(lambda r: r.raw_output_contents.append(b"abc")), "2 contents for 1 outputs"),
        (changed(typed([1.0, 2.0])), "has 8 bytes"),
        (changed(lambda r: write_parameters(r.parameters, {"more": "x" * 5000})), "RESOURCE_EXHAUSTED"),
        (_no_message, "none of the protocol's messages"),
        (_refuse, "gRPC INTERNAL out of memory"),
        (_hang, "no answer within 0.5 s"),
    ],
)
def test_an_answer_that_is_none_fails_its_job_and_nothing_else(recorder: Any, lie: Any, why: str) -> None:
    async def main() -> None:
        async with GrpcRemote() as remote:
            engine = OipEngine([remote.server(timeout=0.5, max_response_bytes=4096, probe_interval=100)])
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            remote.answer = lie
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            failed = await recorder.next("failed")
            assert failed[1] == 1
            assert why in failed[2]
            remote.answer = changed(typed([0.25, 0.5, 0.75]))  # typed contents are as good as raw ones
            engine.submit(Submission(2, worker, Role.SINGLE, RGB))
            np.testing.assert_allclose((await recorder.next("completed"))[2], [[0.25, 0.5, 0.75]])
            await engine.stop()

    asyncio.run(main())


def test_a_server_that_is_not_ready_or_ends_and_comes_back(recorder: Any) -> None:
    async def main() -> None:
        async with GrpcRemote() as remote:
            remote.ready = False
            engine = OipEngine([remote.server()])
            await engine.start(recorder)
            assert recorder.silent()
            remote.ready = True
            _, worker, *_ = await recorder.next("up")
            remote.answer = _hang
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            await remote.asked.wait()
            remote.ready = False
            assert await recorder.next() == ("down", worker, "ModelReady: not ready")
            remote.ready = True
            await recorder.next("up")
        assert "no connection" in (await recorder.next("down"))[2]
        async with GrpcRemote(port=remote.port):
            await recorder.next("up")
            engine.submit(Submission(2, worker, Role.SINGLE, RGB))
            assert (await recorder.next("completed"))[1] == 2
            await engine.stop()
        assert recorder.silent()

    asyncio.run(main())


def test_a_closed_call_reaches_the_server(recorder: Any) -> None:
    async def main() -> None:
        async with GrpcRemote() as remote:
            cancelled = asyncio.Event()

            async def wait(*_: Any) -> None:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.set()
                    raise

            remote.answer = wait
            engine = OipEngine([remote.server(cancel="close")])
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            await remote.asked.wait()
            engine.cancel(1)
            assert await recorder.next() == ("freed", 1)
            await cancelled.wait()
            await engine.stop()

    asyncio.run(main())


def test_settings_that_make_no_sense(tmp_path: Any) -> None:
    models = {Role.SINGLE: MEANS}
    with pytest.raises(SettingsError, match="gRPC has no path"):
        OipEngine([OipServer("grpc://a:1/prefix", models)])
    with pytest.raises(SettingsError, match=r"tls\.verify"):
        OipEngine([OipServer("grpcs://a:1", models, OipOptions(tls=TlsOptions(verify=False)))])
    with pytest.raises(SettingsError, match=r"tls\.ca: .* cannot be read"):
        OipEngine([OipServer("grpcs://a:1", models, OipOptions(tls=TlsOptions(ca=tmp_path / "none")))])
