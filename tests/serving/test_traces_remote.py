"""A query's trace goes on at the remote worker that runs its job: real servers say what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import pytest
from aiohttp import web

from collage.oip import METHODS
from collage.serving import GatewayApp, load_settings

from ..engines.remote import Remote
from ..engines.remote_grpc import GrpcRemote
from .asgi import living
from .collector import Caller, Collector, Seen

Context = tuple[str, str]  # of a call: the trace, and the span that it is below
POLICY = {"trigger": "at_once", "accept": "first", "budget": 4.0, "burst": 10_000.0}


@pytest.fixture(scope="module")
def collector() -> Any:
    made = Collector()
    yield made
    made.close()


def greys(inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What both models say, whichever is asked: (n, 1, H, W) -> (n, 10), or (n, 9, 10) of collages."""
    side = inputs.shape[-1] // 8
    means = inputs.reshape(len(inputs), side, 8, side, 8).mean(axis=(2, 4)).reshape(len(inputs), -1, 1)
    levels = np.arange(10, dtype=np.float32) / 9
    scores = (200 * levels * means - 100 * levels**2).astype(np.float32)
    return scores if side > 1 else scores[:, 0]


class Servers:
    """Two: one for singles, one for collages. `told`: what came with each call, beside its model; such calls wait for
    `go`.
    """

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self._remotes: list[Any] = [Remote() if scheme == "http" else GrpcRemote() for _ in "sc"]
        for remote in self._remotes:
            remote.answer = self._by_http if scheme == "http" else self._by_grpc
            remote.metadata = {} if scheme == "http" else []
        self.told: list[tuple[str, dict[str, str]]] = []
        self.go = {"greys": asyncio.Event(), "greys-3x3": asyncio.Event()}
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Self:
        for remote in self._remotes:
            await remote.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for remote in self._remotes:
            await remote.__aexit__()

    @property
    def fleet(self) -> str:
        """The file."""
        groups = zip(self._remotes, (3, 1), ("single", "backup"), strict=True)
        return "".join(
            f'[[remote]]\nurls = ["{self.scheme}://127.0.0.1:{remote.port}"]\nslots = {slots}\nroles = ["{role}"]\n'
            for remote, slots, role in groups
        )

    def contexts(self, model: str) -> list[Context]:
        """What the calls of a model were told of traces."""
        told = [headers["traceparent"].split("-") for name, headers in self.told if name == model]
        assert all((version, flags) == ("00", "01") for version, _, _, flags in told)
        return [(trace, span) for _, trace, span, _ in told]

    async def _by_http(self, request: web.Request, sent: Any, inputs: Any) -> web.Response:
        model, output = request.match_info["model"], greys(inputs)
        await self._hear(model, {name.lower(): value for name, value in request.headers.items()})
        tensor = {"name": "logits", "datatype": "FP32", "shape": output.shape, "data": output.ravel().tolist()}
        return web.json_response({"model_name": model, "id": sent["id"], "outputs": [tensor]})

    async def _by_grpc(self, request: Any, context: Any, inputs: Any) -> Any:
        output = greys(inputs)
        await self._hear(request.model_name, dict(context.invocation_metadata()))
        response = METHODS["ModelInfer"].response(model_name=request.model_name, id=request.id)
        response.outputs.add(name="logits", datatype="FP32", shape=output.shape)
        response.raw_output_contents.append(output.astype("<f4").tobytes())
        return response

    async def _hear(self, model: str, headers: dict[str, str]) -> None:
        async with self._heard:
            self.told.append((model, headers))
            self._heard.notify_all()
        await self.go[model].wait()

    async def await_calls(self, count: int) -> None:
        """The test's own timeout is the limit."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.told) == count)

    def begin_again(self) -> None:
        """As if nothing had come."""
        self.told.clear()
        for model in self.go.values():
            model.clear()

    def let_go(self) -> None:
        """Nothing waits any more."""
        for model in self.go.values():
            model.set()


Ask = Callable[..., Awaitable[httpx.Response]]


@asynccontextmanager
async def gateway(server: Servers, models: dict[str, Path], folder: Path, **settings: Any) -> Any:
    """A gateway before the server, in this event loop; gives what asks it."""
    fleet = folder / "fleet.toml"
    fleet.write_text(server.fleet)
    files = {"single": str(models["single"]), "backup": str(models["collage"]), "fleet": fleet}
    app = GatewayApp(load_settings(**files, policy="collage", policy_overrides=POLICY, control_share=0.0, **settings))
    said: list[dict[str, Any]] = []
    async with living(app, said) as client:
        assert said == [{"type": "lifespan.startup.complete"}]
        try:
            yield lambda image, how="", **headers: client.post(f"/v1/classify{how}", content=image, headers=headers)
        finally:
            server.let_go()


def jobs(spans: list[Seen], name: str) -> list[Context]:
    return [(span.trace, span.id) for span in spans if span.name == name]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_jobs_call_is_below_the_jobs_span(
    scheme: str, models: dict[str, Path], collector: Collector, png: Any, tmp_path: Path
) -> None:
    callers = [Caller.new() for _ in range(3)]
    server = Servers(scheme)

    async def main() -> None:
        async with server, gateway(server, models, tmp_path, otlp_endpoint=collector.url) as ask:
            server.let_go()
            await ask(png(0), "?accept_degraded=false")  # there is a single's time to measure the budget by
            server.begin_again()
            asked = []
            for index, caller in enumerate(callers):
                headers = {"traceparent": caller.header(), "tracestate": f"ours={index}"}
                asked.append(asyncio.create_task(ask(png(index), "?deadline_ms=60000", **headers)))
                await server.await_calls(index + 2)  # a collage of the first alone: the others must wait for theirs
            server.go["greys-3x3"].set()
            answers = [answer.json() for answer in await asyncio.gather(*asked)]
            assert [(answer["label"], answer["source"]) for answer in answers] == [
                (f"g{index}", "collage") for index in range(3)
            ]
            server.let_go()  # a job that nobody waits for any more has its span, too

    asyncio.run(main())
    spans = [span for caller in callers for span in collector.await_spans(caller.trace, "single", "collage")]
    singles, collages = server.contexts("greys"), server.contexts("greys-3x3")
    assert sorted(singles) == sorted(jobs(spans, "single"))
    states = {headers["traceparent"].split("-")[1]: headers["tracestate"] for _, headers in server.told}
    assert states.items() <= {caller.trace: f"ours={index}" for index, caller in enumerate(callers)}.items()
    assert len(states) == 3

    # One call for two: below the span that the first of them has of it, to which the other's leads.
    alone, shared = collages
    assert alone == jobs(spans, "collage")[0]
    assert shared == jobs(spans, "collage")[1]
    first, second, third = (span for span in spans if span.name == "collage")
    queries = {span.id: span.trace for span in spans if span.name == "query"}
    assert first.links == []
    assert [queries[link] for link in second.links] == [callers[2].trace]
    to_call, to_query = third.links
    assert (to_call, queries[to_query]) == (second.id, callers[1].trace)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nothing_is_told_where_nothing_is_traced(
    scheme: str, models: dict[str, Path], collector: Collector, png: Any, tmp_path: Path
) -> None:
    server = Servers(scheme)
    server.let_go()

    async def main() -> None:
        async with server:
            async with gateway(server, models, tmp_path) as ask:
                assert (await ask(png(3), traceparent=Caller.new().header())).json()["label"] == "g3"
            async with gateway(server, models, tmp_path, otlp_endpoint=collector.url) as ask:
                headers = {"traceparent": Caller.new().header(sampled=False), "tracestate": "ours=1"}
                assert (await ask(png(4), **headers)).json()["label"] == "g4"

    asyncio.run(main())
    assert {model for model, _ in server.told} == {"greys", "greys-3x3"}
    for _, headers in server.told:
        assert not {"traceparent", "tracestate"} & headers.keys()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_state_that_servers_may_refuse_for_its_length_stays_here(
    scheme: str, models: dict[str, Path], collector: Collector, png: Any, tmp_path: Path
) -> None:
    """A server that refuses a call fails its job, and pauses: no client may bring that about."""
    server, caller = Servers(scheme), Caller.new()
    server.let_go()
    state = ",".join(f"k{index}={'v' * 250}" for index in range(32))

    async def main() -> None:
        async with server, gateway(server, models, tmp_path, otlp_endpoint=collector.url) as ask:
            answer = await ask(png(5), traceparent=caller.header(), tracestate=state)
            assert answer.json()["label"] == "g5"

    asyncio.run(main())
    ((trace, _),) = server.contexts("greys")
    assert trace == caller.trace
    assert "tracestate" not in server.told[0][1]
