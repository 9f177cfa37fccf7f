"""Remote workers: what they answer, and what happens when they are not ready, die or hang."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from collage.dispatch import Role
from collage.engines import (
    CancelEffect,
    LocalEngine,
    MixedEngine,
    OipEngine,
    OipOptions,
    OipServer,
    Submission,
    TlsOptions,
)
from collage.exceptions import SettingsError

from .jobs import RGB, Run, image
from .remote import BOTH, LENGTH, MEANS, Remote, answer, said


@pytest.mark.parametrize("binary", [True, False])
def test_each_role_runs_its_own_model_on_kept_connections(run: Run, recorder: Any, binary: bool) -> None:
    async def main() -> None:
        async with Remote(binary=binary) as remote:
            engine = OipEngine([remote.server(BOTH, slots=2, headers={"X-Tenant": "a"})])
            worker = f"127.0.0.1:{remote.port}"
            assert engine.workers == {worker: None}
            await engine.start(recorder)
            assert await recorder.next() == ("up", worker, frozenset(BOTH), 2)
            for job in range(4):
                engine.submit(Submission(2 * job, worker, Role.SINGLE, RGB + np.float32(job)))
                engine.submit(Submission(2 * job + 1, worker, Role.COLLAGE, image(job)))
                done = {event[1]: event for event in [await recorder.next("completed") for _ in range(2)]}
                np.testing.assert_allclose(done[2 * job][2], [[0.25 + job, 0.5 + job, 0.75 + job]])
                np.testing.assert_allclose(done[2 * job + 1][2], np.full((1, 1, 4, 4), 2.0 * job))
                assert all(event[2].dtype == np.float32 and event[3] > 0 for event in done.values())
            assert len(remote.connections) <= 3  # two jobs at a time, and the looks
            assert all(headers["X-Tenant"] == "a" and (LENGTH in headers) is binary for headers in remote.headers)
            await engine.stop()
            await engine.stop()
            assert recorder.silent()

    run(main())


def test_a_worker_is_there_while_its_server_says_so(run: Run, recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            remote.not_ready = {"server"}
            engine = OipEngine([remote.server(BOTH)])
            await engine.start(recorder)
            assert recorder.silent()
            remote.not_ready = {"doubled"}  # half of it: one role
            assert (await recorder.next("up"))[2] == {Role.SINGLE}
            remote.not_ready = set()
            _, worker, roles, _ = await recorder.next("up")
            assert roles == frozenset(BOTH)

            never = asyncio.Event()

            async def hang(*_: Any) -> web.StreamResponse:
                await never.wait()
                raise AssertionError

            remote.answer = hang
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            await remote.asked.wait()
            remote.not_ready = {"means", "doubled"}
            down = await recorder.next("down")
            assert (down[1], "/v2/models/means/ready: not ready" in down[2]) == (worker, True)
            engine.submit(Submission(2, worker, Role.SINGLE, RGB))
            assert await recorder.next() == ("failed", 2, f"worker {worker} is down")  # and nothing of job 1
            remote.not_ready, remote.answer = set(), None
            await recorder.next("up")
            engine.submit(Submission(3, worker, Role.SINGLE, RGB))
            assert (await recorder.next("completed"))[1] == 3
            await engine.stop()

    run(main())


def test_a_server_that_ends_and_comes_back(run: Run, recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            engine = OipEngine([remote.server(probe_interval=100)])  # a failed call makes it look at once
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
        engine.submit(Submission(1, worker, Role.SINGLE, RGB))
        assert "no connection" in (await recorder.next("failed"))[2]
        assert (await recorder.next("down"))[1] == worker
        await engine.stop()

        engine = OipEngine([remote.server()])
        await engine.start(recorder)
        assert recorder.silent()
        async with Remote(port=remote.port):
            await recorder.next("up")
        assert "no connection" in (await recorder.next("down"))[2]
        await engine.stop()

    run(main())


def test_a_server_that_is_silent_is_down_after_a_few_looks(recorder: Any) -> None:
    async def main() -> None:
        silent = asyncio.Event()
        looks = 0

        class Silent(Remote):
            async def _ready(self, request: web.Request) -> web.Response:
                nonlocal looks
                if silent.is_set():
                    looks += 1
                    await asyncio.Event().wait()
                return await super()._ready(request)

        async with Silent() as remote:
            engine = OipEngine([remote.server(probe_timeout=0.3, probe_failures=3)])
            await engine.start(recorder)
            await recorder.next("up")
            silent.set()
            assert "no answer within 0.3 s" in (await recorder.next("down"))[2]
            assert looks == 3
            silent.clear()
            await recorder.next("up")
            await engine.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([{"name": "z", "datatype": "FP32", "shape": [-1, 3]}], "has outputs 'z', and no 'y'"),
        ([{"name": "y", "datatype": "FP32", "shape": [-1, 10]}], r"shape \[-1, 10\]; \[-1, 3\] is needed"),
        ([{"name": "y", "datatype": "FP16", "shape": [-1, 3]}], "is FP16; FP32 is needed"),
    ],
)
def test_a_model_that_is_another_is_never_asked(
    recorder: Any, caplog: pytest.LogCaptureFixture, outputs: Any, why: str
) -> None:
    async def main() -> None:
        async with Remote() as remote:
            remote.outputs = outputs
            engine = OipEngine([remote.server()])
            await engine.start(recorder)
            assert recorder.silent()
            (message,) = caplog.messages
            assert pytest.RaisesExc(ValueError, match=why).matches(ValueError(message)), message
            remote.outputs = None
            await recorder.next("up")
            await engine.stop()

    asyncio.run(main())


@pytest.mark.parametrize("effect", ["nothing", "close"])
def test_cancelling_does_what_is_declared(recorder: Any, effect: str) -> None:
    async def main() -> None:
        async with Remote() as remote:
            go, closed = asyncio.Event(), asyncio.Event()

            async def wait(request: web.Request, sent: Any, inputs: Any) -> web.StreamResponse:
                try:
                    await go.wait()
                finally:  # cancelled, where its caller has closed the connection
                    if not go.is_set():
                        closed.set()
                return await answer(request, sent, inputs)

            remote.answer = wait
            engine = OipEngine([remote.server(cancel=effect)])
            assert engine.cancel_effect is (CancelEffect.COOPERATIVE if effect == "close" else CancelEffect.NOTHING)
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            await remote.asked.wait()
            engine.cancel(99)  # of another engine
            engine.cancel(1)
            if effect == "close":
                assert await recorder.next() == ("freed", 1)
                await closed.wait()
            else:
                assert recorder.silent()
                go.set()
                assert (await recorder.next("completed"))[1] == 1
            await engine.stop()

    asyncio.run(main())


def test_singles_that_start_together_share_a_call(run: Run, recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            engine = OipEngine([remote.server(slots=6, max_batch=4)])
            await engine.start(recorder)
            _, worker, _, slots = await recorder.next("up")
            assert slots == 6
            for job in range(6):
                engine.submit(Submission(job, worker, Role.SINGLE, RGB + np.float32(job)))
            done = [await recorder.next("completed") for _ in range(6)]
            for _, job, output, _ in done:
                np.testing.assert_allclose(output, [[0.25 + job, 0.5 + job, 0.75 + job]], rtol=1e-6)
            assert sorted(len(inputs) for _, inputs in remote.requests) == [2, 4]

            told = len(remote.headers)
            for job, headers in ((7, None), (8, {"x-told": "first"}), (9, {"x-told": "second"})):
                engine.submit(Submission(job, worker, Role.SINGLE, RGB, headers=headers))
            for _ in range(3):
                await recorder.next("completed")
            assert [sent["x-told"] for sent in remote.headers[told:]] == ["first"]

            several = np.concatenate([RGB, RGB + np.float32(1)])
            engine.submit(Submission(20, worker, Role.SINGLE, several))
            _, _, output, _ = await recorder.next("completed")
            np.testing.assert_allclose(output, [[0.25, 0.5, 0.75], [1.25, 1.5, 1.75]], rtol=1e-6)

            remote.answer = said()  # one row, for two
            engine.submit(Submission(10, worker, Role.SINGLE, RGB))
            engine.submit(Submission(11, worker, Role.SINGLE, RGB))
            assert [await recorder.next("failed") for _ in range(2)] == [
                ("failed", job, "1 rows for 2 singles that shared a call") for job in (10, 11)
            ]
            await engine.stop()

    run(main())


def test_slots_of_a_balanced_url_are_workers(recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            engine = OipEngine([remote.server(slots=3, balanced=True)])
            await engine.start(recorder)
            ups = [await recorder.next("up") for _ in range(3)]
            assert [up[1] for up in ups] == [f"127.0.0.1:{remote.port}#{number}" for number in range(3)]
            assert all(up[3] == 1 for up in ups)
            for job, up in enumerate(ups):
                engine.submit(Submission(job, up[1], Role.SINGLE, RGB))
            assert {(await recorder.next("completed"))[1] for _ in ups} == {0, 1, 2}
            await engine.stop()

    asyncio.run(main())


def test_what_can_never_run_is_refused(recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            engine = OipEngine([remote.server()])
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            with pytest.raises(ValueError, match="no worker nobody"):
                engine.submit(Submission(1, "nobody", Role.SINGLE, RGB))
            with pytest.raises(ValueError, match="no model for collage"):
                engine.submit(Submission(1, worker, Role.COLLAGE, RGB))
            with pytest.raises(ValueError, match="must be float32"):
                engine.submit(Submission(1, worker, Role.SINGLE, RGB.astype(np.float64)))  # type: ignore[arg-type]
            await engine.stop()

    asyncio.run(main())


def test_settings_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {Role.SINGLE: MEANS}
    for url in ("ftp://a:1", "a:8000", "http://", "http://a:99999", "http://a/?b=1", "http://me:secret@a:1"):
        with pytest.raises(SettingsError, match="urls: "):
            OipEngine([OipServer(url, models)])
    with pytest.raises(SettingsError, match="urls: http://a:1 is there twice"):
        OipEngine([OipServer("http://a:1", models), OipServer("http://a:1", models)])
    with pytest.raises(SettingsError, match=r"headers_env.Authorization: the environment has no TOKEN_OF_NOBODY"):
        OipEngine([OipServer("http://a:1", models, OipOptions(headers_env={"Authorization": "TOKEN_OF_NOBODY"}))])
    monkeypatch.setenv("TOKEN_OF_NOBODY", "Bearer x")
    options = OipOptions(headers={"A": "b"}, headers_env={"Authorization": "TOKEN_OF_NOBODY"})
    assert options.all_headers() == {"A": "b", "Authorization": "Bearer x"}
    tls = TlsOptions(ca=tmp_path / "none.pem")
    with pytest.raises(SettingsError, match="tls: "):
        OipEngine([OipServer("https://a:1", models, OipOptions(tls=tls))])
    for changes, named in (
        ({"slots": 2, "max_batch": 3}, "max_batch"),
        ({"slots": 2, "max_batch": 2, "balanced": True}, "max_batch"),
        ({"headers": {"A\n": "b"}}, "headers"),
    ):
        with pytest.raises(ValueError, match=named):
            OipOptions.model_validate(changes)


def test_a_server_whose_certificate_is_trusted(recorder: Any, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def main() -> None:
        async with Remote(tls=context) as remote:
            stranger = OipEngine([remote.server()])
            await stranger.start(recorder)
            assert recorder.silent()
            await stranger.stop()
            for tls in (TlsOptions(ca=certificate), TlsOptions(verify=False)):
                engine = OipEngine([remote.server(tls=tls)])
                await engine.start(recorder)
                _, worker, *_ = await recorder.next("up")
                engine.submit(Submission(1, worker, Role.SINGLE, RGB))
                assert (await recorder.next("completed"))[1] == 1
                await engine.stop()

    asyncio.run(main())


def test_local_and_remote_workers_side_by_side(recorder: Any, means: Path) -> None:
    async def main() -> None:
        async with Remote() as remote:
            local = LocalEngine({Role.SINGLE: means}, 1)
            engine = MixedEngine([local, OipEngine([remote.server(cancel="close")])])
            assert engine.cancel_effect is CancelEffect.NOTHING
            await engine.start(recorder)
            ups = {(await recorder.next("up"))[1] for _ in range(2)}
            there = f"127.0.0.1:{remote.port}"
            assert ups == {"w0", there} == engine.workers.keys()
            assert engine.workers[there] is None
            for job, worker in enumerate(("w0", there)):
                engine.submit(Submission(job, worker, Role.SINGLE, RGB))
                np.testing.assert_allclose((await recorder.next("completed"))[2], [[0.25, 0.5, 0.75]])
            with pytest.raises(ValueError, match="no local worker"):
                engine.straggle(there, 1.0, 1.0)
            engine.cancel(5)
            await engine.stop()

    asyncio.run(main())


def test_two_workers_of_one_name_are_refused(means: Path) -> None:
    engines = [LocalEngine({Role.SINGLE: means}, 1) for _ in range(2)]
    with pytest.raises(ValueError, match="two workers are called w0"):
        MixedEngine(engines)


def test_request_ids_are_strings_of_our_own(recorder: Any) -> None:
    async def main() -> None:
        async with Remote() as remote:
            engine = OipEngine([remote.server(slots=3)])
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            for job in range(3):
                engine.submit(Submission(job, worker, Role.SINGLE, RGB))
            for _ in range(3):
                await recorder.next("completed")
            ids = {sent["id"] for sent, _ in remote.requests}
            assert len(ids) == 3
            assert all(isinstance(name, str) for name in ids)
            assert json.dumps(sorted(ids))
            await engine.stop()

    asyncio.run(main())
