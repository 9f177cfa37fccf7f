"""Remote workers that answer what is none: wrong, endless, cut short, late. The job fails, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web

from collage.dispatch import Role
from collage.engines import OipEngine, Submission

from .jobs import RGB
from .remote import LENGTH, Remote, said


def sends(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    async def lie(*_: Any) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return lie


async def _endless(request: web.Request, *_: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 65536)
    return response


async def _drips(request: web.Request, *_: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def _cut(request: web.Request, *_: Any) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


async def _no_http(request: web.Request, *_: Any) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x00\x01 not a response \r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (said(shape=[1, 4], data=[0, 0, 0, 0]), r"shape \[1, 4\]; \[-1, 3\] is needed"),
        (said(shape=[3]), r"shape \[3\]"),
        (said(shape="3"), "has no shape"),
        (said(shape=[-1, 3]), "has no shape"),
        (said(shape=[10**15, 3]), "has 3 numbers"),
        (said(data=[0.1, 0.2]), "has 2 numbers"),
        (said(data=[0.1, None, 0.3]), "are not 3 numbers"),
        (said(data=[0.1, "0.2", 0.3]), "are not 3 numbers"),
        (said(data=[[[[[[[[[[0.1]]]]]]]]]]), "are not 3 numbers"),
        (said(data={"0": 1}), "are not 3 numbers"),
        (said(datatype="FP64"), "is FP64, not FP32"),
        (said(datatype=7), "is 7, not FP32"),
        (said(id="another"), "to request 'another'"),
        (said(model_name="doubled"), "of model 'doubled'"),
        (said(outputs=[]), "no output 'y'"),
        (said(outputs=None), "no outputs"),
        (said(outputs=[None]), "no object"),
        (said(name="z"), "no output 'y'"),
        (said(parameters={"binary_data_size": 12}), "0 bytes are left"),
        (said(parameters={"binary_data_size": -1}), "binary_data_size is -1"),
        (sends(b""), "not JSON"),
        (sends(b"\xff" * 100), "not JSON"),
        (sends(b"[" * 3000), "not JSON"),
        (sends(b"[1]"), "no JSON object"),
        (sends(b"{}", headers={LENGTH: "99"}), "body has 2 bytes"),
        (sends(b"{}", headers={LENGTH: "x"}), f"{LENGTH} is 'x'"),
        (sends(b'{"error": "out of memory"}', 500), 'HTTP 500 {"error": "out of memory"}'),
        (sends(b"", 302, {"Location": "http://elsewhere.invalid/"}), "HTTP 302"),
        (_endless, "longer than 4,096 bytes"),
        (_drips, "no answer within 0.5 s"),
        (_cut, "ended early"),
        (_no_http, "no HTTP"),
    ],
)
def test_an_answer_that_is_none_fails_its_job_and_nothing_else(recorder: Any, lie: Any, why: str) -> None:
    async def main() -> None:
        async with Remote() as remote:
            options = {"timeout": 0.5, "max_response_bytes": 4096, "probe_interval": 100}
            engine = OipEngine([remote.server(**options)])
            await engine.start(recorder)
            _, worker, *_ = await recorder.next("up")
            remote.answer = lie
            engine.submit(Submission(1, worker, Role.SINGLE, RGB))
            failed = await recorder.next("failed")
            assert failed[1] == 1
            assert pytest.RaisesExc(ValueError, match=why).matches(ValueError(failed[2])), failed[2]
            remote.answer = None
            engine.submit(Submission(2, worker, Role.SINGLE, RGB))
            assert (await recorder.next("completed"))[1] == 2
            await engine.stop()

    asyncio.run(main())
