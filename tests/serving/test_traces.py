"""Traces of real gateways at a real collector: which job won, who shared it, and nobody waits for a collector."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from collage.exceptions import SettingsError
from collage.oip import METHODS, SERVICE
from collage.serving import GatewayApp, load_settings

from .asgi import living
from .collector import Caller, Collector, Seen

POLICY = {"warmup": 20, "patience_quantile": 0.6, "budget": 1.0, "second_line": False}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(start_gateway: Any, collector: Collector) -> Any:
    return start_gateway(
        hold=0.02, workers=3, grpc_port=0, policy_overrides=POLICY, otlp_endpoint=collector.url, control_share=0.0
    )


def _one(spans: list[Seen], name: str, result: str | None = None) -> Seen:
    (found,) = [span for span in spans if span.name == name and result in (None, span.said.get("collage.result"))]
    return found


def test_one_sees_which_job_won(served: Any, collector: Collector, png: Any) -> None:
    def ask(index: int) -> tuple[str, Caller]:
        caller = Caller.new()
        headers = {"traceparent": caller.header(), "X-Request-Id": caller.trace}
        status, answer, _ = served.ask("POST", "/v1/classify?deadline_ms=60000", png(index % 10), headers)
        assert status == 200, answer
        return answer["source"], caller

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(60)))  # what is late is learnt
        won: list[Caller] = []
        while not won:
            straggler = served.worker_pids()[0]
            os.kill(straggler, signal.SIGSTOP)
            try:
                won = [caller for source, caller in pool.map(ask, range(12)) if source == "collage"]
            finally:
                os.kill(straggler, signal.SIGCONT)
    spans = [collector.await_spans(caller.trace, "single", "lost", "collage", "won", "decode", "decode")
             for caller in won]  # fmt: skip
    caller, spans_of = won[0], spans[0]
    request = _one(spans_of, "POST /v1/classify")
    assert (request.trace, request.parent, request.error) == (caller.trace, caller.span, False)
    assert request.said == {"collage.request": caller.trace, "collage.queries": 1, "http.request.method": "POST",
                            "http.route": "/v1/classify", "http.response.status_code": 200}  # fmt: skip
    query, prepare = _one(spans_of, "query"), _one(spans_of, "prepare")
    assert query.parent == prepare.parent == request.id
    assert (query.said["collage.source"], query.said["collage.degraded"]) == ("collage", True)
    queue, single, collage = _one(spans_of, "queue"), _one(spans_of, "single"), _one(spans_of, "collage", "won")
    assert queue.parent == single.parent == collage.parent == query.id
    assert (single.said["collage.result"], single.said["collage.queries"]) == ("lost", 1)
    assert collage.said["collage.job"] == query.said["collage.winner"]
    assert single.said["collage.worker"] != collage.said["collage.worker"]
    assert single.ended > query.ended >= collage.ended > collage.began > single.began == queue.ended >= query.began
    encode = _one(spans_of, "encode")
    assert encode.parent == collage.id
    assert {span.parent for span in spans_of if span.name == "decode"} == {single.id, collage.id}
    assert collector.services == {"collage"}

    # The other queries that were in it: their spans are in traces of their own.
    others = {span.id: span for span in collector.spans if span.name == "query"}
    linked = [others[link].trace for link in collage.links if link in others]
    assert len(linked) == collage.said["collage.queries"] - 1
    assert caller.trace not in linked


def test_a_grpc_call_goes_on_with_its_callers_trace(served: Any, collector: Collector, png: Any) -> None:
    caller, method = Caller.new(), METHODS["ModelInfer"]
    request = method.request(model_name="greys", id="by grpc")
    tensor = request.inputs.add(name="images", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([png(1), png(2)])
    with grpc.insecure_channel(served.grpc) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", method.request.SerializeToString, method.response.FromString
        )
        call(request, metadata=[("traceparent", caller.header())])
    spans = collector.await_spans(caller.trace, "ModelInfer", "query", "query", "won", "won")
    outer = _one(spans, "ModelInfer")
    assert outer.parent == caller.span
    assert outer.said == {"collage.request": "by grpc", "collage.queries": 2, "rpc.system": "grpc",
                          "rpc.method": "ModelInfer", "rpc.response.status_code": "OK"}  # fmt: skip
    assert {span.parent for span in spans if span.name == "query"} == {outer.id}


def test_what_has_no_answer_and_what_is_not_wanted(served: Any, collector: Collector, png: Any) -> None:
    late, unwanted = Caller.new(), Caller.new()
    served.ask("POST", "/v1/classify", png(1), {"traceparent": unwanted.header(sampled=False)})
    with served.stopped_workers():
        status, _, _ = served.ask("POST", "/v1/classify?deadline_ms=50", png(1), {"traceparent": late.header()})
    assert status == 504
    spans = collector.await_spans(late.trace, "POST /v1/classify", "query")
    assert (_one(spans, "POST /v1/classify").error, _one(spans, "query").error) == (True, True)
    assert _one(spans, "query").said["collage.why"] == "deadline"
    assert collector.of(unwanted.trace) == []


def test_the_log_names_the_trace_and_the_last_spans_are_sent(
    start_gateway: Any, collector: Collector, png: Any
) -> None:
    gateway = start_gateway(otlp_endpoint=collector.url, log_format="json")
    caller = Caller.new()
    for _ in range(3):
        gateway.ask("POST", "/v1/classify", png(1), {"traceparent": caller.header()})
    status, errors = gateway.stop()
    assert status == 0
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["trace"] for line in lines if line["logger"] == "collage.access"] == [caller.trace] * 3
    assert len([span for span in collector.of(caller.trace) if span.name == "query"]) == 3


def test_another_servers_gateway_sends_its_last_spans_too(
    models: dict[str, Path], collector: Collector, png: Any
) -> None:
    caller = Caller.new()

    async def main() -> None:
        app = GatewayApp(
            load_settings(single=str(models["single"]), policy="none", workers=1, otlp_endpoint=collector.url)
        )
        said: list[dict[str, Any]] = []
        async with living(app, said) as client:
            assert said == [{"type": "lifespan.startup.complete"}]
            answer = await client.post("/v1/classify", content=png(1), headers={"traceparent": caller.header()})
            assert answer.status_code == 200

    asyncio.run(main())
    assert [span.name for span in collector.of(caller.trace)].count("query") == 1


@pytest.mark.parametrize("answers", [False, True], ids=["dead", "never answers"])
def test_a_collector_that_takes_nothing_costs_no_request_anything(start_gateway: Any, png: Any, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # connects, and nothing is ever said
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if not answers:
            listening.close()
        gateway = start_gateway(otlp_endpoint=url)
        made = "collage_trace_spans_made_total"
        while gateway.metrics()[made] < 1100:  # more than two batches: the first is on its way for good
            for index in range(50):
                status, answer, _ = gateway.ask("POST", "/v1/classify", png(index % 10))
                assert (status, answer["label"]) == (200, f"g{index % 10}")
        assert gateway.metrics()["collage_trace_spans_sent_total"] == 0
        assert gateway.stop()[0] == 0


def test_a_missing_extra_is_named_in_one_line(models: dict[str, Path]) -> None:
    script = "import sys; sys.modules['opentelemetry'] = None; from collage.cli import main; main()"
    command = [sys.executable, "-c", script, "serve", "--single", str(models["single"]), "--port", "0"]
    environment = os.environ | {"COLLAGE_SERVE_OTLP_ENDPOINT": "http://127.0.0.1:1", "COLLAGE_SERVE_BACKUP": "none",
                                "COLLAGE_SERVE_POLICY": "none"}  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr == (
        "collage: otlp_endpoint: opentelemetry is not installed: pip install 'collage-inference[otel]'\n"
    )


def test_without_an_endpoint_nothing_is_loaded() -> None:
    script = "import sys, collage.serving._http_app; print('opentelemetry' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_endpoint_is_a_url() -> None:
    with pytest.raises(SettingsError, match=r"^otlp_endpoint: http://HOST:PORT is needed \(got 'collector:4318'\)"):
        load_settings(otlp_endpoint="collector:4318")
