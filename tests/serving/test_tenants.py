"""Real gateways with tenants: who gets in, whose images share a collage, and whom a flood costs something."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from collage.oip import METHODS, SERVICE
from collage.serving.safety import digest, new_key

KEYS = {name: new_key() for name in ("a", "b", "c", "d", "few", "admin", "monitor")}


def _tenants(**more: dict[str, Any]) -> dict[str, Any]:
    return {name: {"keys": [digest(KEYS[name])]} | extra for name, extra in more.items()}


def _bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def _basic(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{KEYS[name]}".encode()).decode()}


@pytest.fixture(scope="module")
def served(start_gateway: Any) -> Any:
    return start_gateway(
        grpc_port=0,
        workers=1,
        max_images=16,
        demo=True,
        tenants=_tenants(a={}, b={}, few={"queries_per_second": 0.001, "burst": 3}),
        admin_keys=[digest(KEYS["admin"])],
        monitor_keys=[digest(KEYS["monitor"])],
    )


def test_who_may_call_what(served: Any, png: Any) -> None:
    image = png(5)
    request = json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1],
                                      "data": [base64.b64encode(image).decode()]}]}).encode()  # fmt: skip
    wrong = {"Authorization": f"Bearer {new_key()}"}
    calls = {
        ("GET", "/v2/health/live", None): "anyone",
        ("GET", "/v2/health/ready", None): "anyone",
        ("GET", "/v2/models/greys/ready", None): "anyone",
        ("GET", "/v2/models/greys/versions/3/ready", None): "anyone",
        ("GET", "/v2", None): "tenant",
        ("GET", "/v2/models/greys", None): "tenant",
        ("POST", "/v2/repository/index", b""): "tenant",
        ("POST", "/v2/models/greys/infer", request): "tenant",
        ("POST", "/v2/models/greys/versions/3/infer", request): "tenant",
        ("POST", "/v1/classify", image): "tenant",
        ("GET", "/metrics", None): "monitor",
        ("GET", "/", None): "monitor",
        ("GET", "/static/dashboard.css", None): "monitor",
        ("GET", "/v1/status", None): "monitor",
        ("POST", "/v1/backup/on", b""): "admin",
        ("POST", "/demo/straggle", b""): "admin",
    }
    allowed = {"anyone": {"nobody", "wrong", "tenant", "monitor", "admin"}, "tenant": {"tenant"},
               "monitor": {"monitor", "admin"}, "admin": {"admin"}}  # fmt: skip
    callers = {"nobody": {}, "wrong": wrong, "tenant": _bearer("a"), "monitor": _bearer("monitor"),
               "admin": _bearer("admin")}  # fmt: skip
    for (method, path, body), need in calls.items():
        for caller, headers in callers.items():
            status, answer, sent = served.ask(method, path, body, headers)
            expected = 200 if caller in allowed[need] else 401 if caller in ("nobody", "wrong") else 403
            assert status == expected, (path, caller, answer)
            if status in (401, 403):
                assert list(answer) == ["error"]
                assert "ck_" not in answer["error"]
            assert ("www-authenticate" in sent) == (status == 401)
    assert served.ask("GET", "/v1/collage.png", None, _bearer("monitor"))[0] == 403
    assert served.ask("GET", "/nowhere", None)[0] == 404


def test_a_key_may_come_in_other_ways(served: Any, png: Any) -> None:
    assert served.ask("POST", "/v1/classify", png(5), {"X-API-Key": KEYS["b"]})[0] == 200
    assert served.ask("POST", "/v1/classify", png(5), {"authorization": f"bearer  {KEYS['b']} "})[0] == 200
    # A browser asks for a name and a password; only on the operator's pages, lest a page of another site asks for more.
    assert served.ask("GET", "/v1/status", None, _basic("monitor"))[0] == 200
    assert "Basic" in served.ask("GET", "/v1/status")[2]["www-authenticate"]
    assert served.ask("GET", "/v1/status", None, {"Authorization": "Basic %%%"})[0] == 401
    assert served.ask("POST", "/v1/classify", png(5), _basic("a"))[0] == 401
    assert "Bearer" in served.ask("POST", "/v1/classify", png(5))[2]["www-authenticate"]
    foreign = _basic("admin") | {"Origin": "http://elsewhere.example"}
    assert served.ask("POST", "/v1/backup/off", b"", foreign)[0] == 403
    for odd in ("Bearer", "Bearer " + "x" * 5000, "Bearer ck_\u00e9", "Digest a=b"):
        status, answer, _ = served.ask("POST", "/v1/classify", png(5), {"Authorization": odd.encode("latin-1")})
        assert (status, list(answer)) == (401, ["error"])


def _call(channel: grpc.Channel, name: str, request: Any, *metadata: tuple[str, str]) -> Any:
    method = METHODS[name]
    call = channel.unary_unary(
        f"/{SERVICE}/{name}", request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=method.response.FromString,
    )  # fmt: skip
    return call(request, timeout=60, metadata=metadata)


def _images(png: Any, *labels: int) -> Any:
    request = METHODS["ModelInfer"].request(model_name="greys")
    tensor = request.inputs.add(name="images", datatype="BYTES", shape=[len(labels)])
    tensor.contents.bytes_contents.extend(png(label) for label in labels)
    return request


def test_grpc_takes_the_key_from_the_metadata(served: Any, png: Any) -> None:
    bearer = ("authorization", f"Bearer {KEYS['a']}")
    with grpc.insecure_channel(served.grpc) as channel:
        assert _call(channel, "ServerLive", METHODS["ServerLive"].request()).live
        assert _call(channel, "ModelInfer", _images(png, 4), bearer).model_name == "greys"
        assert _call(channel, "ModelInfer", _images(png, 4), ("x-api-key", KEYS["a"])).model_name == "greys"
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("x-api-key", new_key()),), grpc.StatusCode.UNAUTHENTICATED),
            ((("x-api-key", KEYS["admin"]),), grpc.StatusCode.PERMISSION_DENIED),
        ):
            for name, request in (
                ("ModelInfer", _images(png, 4)),
                ("ServerMetadata", METHODS["ServerMetadata"].request()),
            ):
                with pytest.raises(grpc.RpcError) as refused:
                    _call(channel, name, request, *metadata)
                assert refused.value.code() is code


def test_too_fast_is_a_429_for_this_tenant_only(served: Any, png: Any) -> None:
    key = ("x-api-key", KEYS["few"])
    status, answer, _ = served.ask("POST", "/v1/classify", png(1), _bearer("few"))
    assert (status, answer["label"]) == (200, "g1")
    with grpc.insecure_channel(served.grpc) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            _call(channel, "ModelInfer", _images(png, 1, 2, 3, 4), key)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # more than a burst: no wait would help
        assert _call(channel, "ModelInfer", _images(png, 1, 2), key).model_name == "greys"
        with pytest.raises(grpc.RpcError) as refused:
            _call(channel, "ModelInfer", _images(png, 1), key)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 60_000
    for _ in range(20):
        status, answer, headers = served.ask("POST", "/v1/classify", png(1), _bearer("few"))
        assert (status, list(answer)) == (429, ["error"])
        assert int(headers["retry-after"]) > 60
        assert served.ask("POST", "/v1/classify", png(7), _bearer("b"))[1]["label"] == "g7"
    _, text, _ = served.ask("GET", "/metrics", None, _bearer("monitor"))
    samples = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    assert float(samples['collage_tenant_limited_total{limit="rate",tenant="few"}']) == 21
    assert float(samples['collage_queries_rejected_total{model="",why="limited"}']) == 21
    assert float(samples['collage_tenant_queries_total{tenant="few"}']) == 3
    assert float(samples['collage_tenant_queries_in_flight{tenant="few"}']) == 0


def test_a_full_share_leaves_the_rest_of_the_queue_to_others(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=1, max_queue=4, max_images=2, tenants=_tenants(a={}, b={}))

    def send(name: str, label: int) -> Any:
        connection = gateway.connect()
        connection.request("POST", "/v1/classify?deadline_ms=60000", png(label), _bearer(name))
        return connection

    with gateway.stopped_workers():
        flood = [send("a", 1), send("a", 2)]
        gateway.await_metric('collage_tenant_queries_in_flight{tenant="a"}', 2)
        for _ in range(5):
            status, answer, headers = gateway.ask("POST", "/v1/classify", png(3), _bearer("a"))
            assert (status, "at most 2" in answer["error"], headers["retry-after"]) == (429, True, "1")
        others = [send("b", 8), send("b", 9)]
        gateway.await_metric('collage_tenant_queries_in_flight{tenant="b"}', 2)
    labels = [json.loads(connection.getresponse().read())["label"] for connection in flood + others]
    assert labels == ["g1", "g2", "g8", "g9"]
    for connection in flood + others:
        connection.close()
    assert gateway.stop()[0] == 0


def test_tenants_share_a_collage_only_where_both_allow_it(start_gateway: Any, png: Any, tmp_path: Path) -> None:
    seen = tmp_path / "collages"
    greys = {"a": [0, 1], "b": [3, 4], "c": [6], "d": [8]}
    gateway = start_gateway(
        hold=0.02,
        seen=seen,
        workers=3,
        policy="collage-dedicated",
        policy_overrides={"trigger": "at_once", "trigger_quantile": None, "warmup": 1, "budget": 4.0},
        tenants=_tenants(a={}, b={}, c={"shares_collages": True}, d={"shares_collages": True}),
    )
    over = threading.Event()
    wrong: list[Any] = []

    def ask(name: str, label: int) -> None:
        while not over.is_set():
            status, answer, _ = gateway.ask("POST", "/v1/classify", png(label), _bearer(name))
            if (status, answer.get("label")) != (200, f"g{label}"):
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(name, label)) for name in greys for label in greys[name] * 2]
    for thread in threads:
        thread.start()
    found: set[frozenset[str]] = set()
    try:
        while not ({frozenset("a"), frozenset("b"), frozenset("cd")} <= found):
            collages = [json.loads(line) for line in seen.read_text().splitlines(keepends=True) if line[-1] == "\n"]
            found = {frozenset(name for name in greys if set(greys[name]) & set(tiles)) for tiles in collages}
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert gateway.stop()[0] == 0
    collages = [json.loads(line) for line in seen.read_text().splitlines()]
    assert {tile for tiles in collages for tile in tiles} <= {0, 1, 3, 4, 6, 8}
    for tiles in collages:
        names = {name for name in greys if set(greys[name]) & set(tiles)}
        assert len(names) == 1 or names == {"c", "d"}, tiles
    assert max(map(len, collages)) > 1
