"""Gateways as replicas of Ray Serve: what their settings must be, their life as an ASGI application, and two real ones.

The last is skipped where Ray is not installed: tests/remote/make-ray.sh makes an environment with it.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from collage.exceptions import SettingsError
from collage.serving import GatewayApp, load_settings
from collage.serving.ray_app import as_replica, build, replica_settings

from .asgi import living


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, r"^host: 0\.0\.0\.0 lets other machines connect"),
        ({"open": "true", "wokers": "3"}, "wokers"),
        ({"open": "true", "grpc_port": "0"}, "^grpc_port: it is Ray Serve that listens"),
        ({"open": "true", "port": "80"}, "^port: it is Ray Serve that listens"),
        ({"open": "true", "config": "absent.toml"}, "absent.toml: cannot be read"),
    ],
)
def test_settings_that_a_replica_cannot_have(args: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        replica_settings(args)


def test_settings_reach_another_node_as_they_are(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("port = 9000\nmax_workers = 6\nmin_workers = 2\n")  # where it listens is nothing here
    settings = replica_settings({"config": str(config), "workers": "3", "open": "true", "replicas": "2", "cpus": "1"})
    there = pickle.loads(pickle.dumps(settings))
    assert there == settings
    assert (there.workers, there.max_workers, there.scaling.least, there.open) == (3, 6, 2, True)
    assert not there.collages_shown  # others may look
    assert replica_settings({"host": "127.0.0.1"}).collages_shown


async def live(app: GatewayApp, work: Any) -> list[dict[str, Any]]:
    """What the application says of its start and end, with `work` done in between."""
    said: list[dict[str, Any]] = []
    async with living(app, said):
        if said[0]["type"].endswith("complete"):
            await work()
    return said


def test_any_asgi_server_can_start_ask_and_stop_it(models: dict[str, Path], png: Any) -> None:
    async def main() -> None:
        app = GatewayApp(load_settings(single=str(models["single"]), backup=str(models["collage"]), workers=1))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

        async def ask() -> None:
            assert (await client.get("/v2/health/ready")).status_code == 200
            answer = await client.post("/v1/classify", content=png(7))
            assert (answer.status_code, answer.json()["label"]) == (200, "g7")

        said = await live(app, ask)
        assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert (await client.get("/v2/health/ready")).status_code == 503
        assert (await client.post("/v1/classify", content=png(7))).status_code == 503
        await client.aclose()

    asyncio.run(main())


def test_nobody_is_near_a_replica_which_says_its_name(models: dict[str, Path]) -> None:
    """The proxy is on the same machine, and speaks for anyone."""

    async def main() -> None:
        app = GatewayApp(load_settings(single=str(models["single"]), policy="none", workers=1))

        async def ask() -> None:
            for asked, status in ((app, 200), (as_replica(app, "r1"), 403)):
                async with httpx.AsyncClient(transport=httpx.ASGITransport(asked), base_url="http://gateway") as client:
                    answer = await client.post("/v1/workers/w0/resume")
                    assert (answer.status_code, answer.headers.get("collage-replica")) == (
                        status,
                        "r1" if status == 403 else None,
                    )

        await live(app, ask)

    asyncio.run(main())


def test_a_start_that_fails_says_why(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        app = GatewayApp(load_settings(single=str(models["single"]), policy="none", workers=1))

        async def start() -> None:
            raise SettingsError("ray_address: nothing answers")

        monkeypatch.setattr(app.plane, "start", start)
        (said,) = await live(app, None)
        assert said == {"type": "lifespan.startup.failed", "message": "ray_address: nothing answers"}

    asyncio.run(main())


def test_a_start_that_fails_leaves_no_model_running(models: dict[str, Path]) -> None:
    async def main() -> None:
        table = {"name": "other", "single": str(models["single"])}
        app = GatewayApp(load_settings(single=str(models["single"]), policy="none", workers=1, models=[table]))

        async def start() -> None:
            raise SettingsError("ray_address: nothing answers")

        first, other = app._models.served
        first.plane.start = start  # type: ignore[method-assign]
        (said,) = await live(app, None)
        assert said["type"] == "lifespan.startup.failed"
        assert list(other.plane.engine.workers.values()) == [None]

    asyncio.run(main())


def test_a_web_socket_is_refused(models: dict[str, Path]) -> None:
    """`collage serve` knows none; another server may."""

    async def main() -> None:
        app = GatewayApp(load_settings(single=str(models["single"]), policy="none", workers=1))
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message["type"])

        scope = {"type": "websocket", "path": "/v1/classify", "headers": [], "query_string": b"", "subprotocols": []}
        await app(scope, receive, send)
        assert said == ["websocket.close"]

    asyncio.run(main())


@pytest.fixture
def two_replicas(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two gateways behind Ray Serve's proxy, each with a worker; its URL."""
    ray = pytest.importorskip("ray", reason="no Ray: tests/remote/make-ray.sh makes an environment with it")
    from ray import serve

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        args = {"single": str(models["single"]), "backup": str(models["collage"]), "host": "127.0.0.1"}
        serve.run(build(args | {"replicas": "2", "engine": "ray", "workers": "1", "cpus": "0.5"}))
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve's own settings
def test_two_replicas_answer(two_replicas: str, png: Any) -> None:
    with pytest.raises(SettingsError, match=r"^replicas: 'many'; a number above 0"):
        build({"open": "true", "replicas": "many"})
    with httpx.Client(base_url=two_replicas, timeout=60) as client:
        asked: dict[str, int] = {}
        for query in range(40):
            answer = client.post("/v1/classify", content=png(query % 10))
            assert (answer.status_code, answer.json()["label"]) == (200, f"g{query % 10}")
            replica = answer.headers["collage-replica"]
            asked[replica] = asked.get(replica, 0) + 1
        assert len(asked) == 2
        assert client.post("/v1/workers").status_code == 403
        counted: dict[str, int] = {}
        while counted.keys() != asked.keys():  # whichever the proxy asks
            metrics = client.get("/metrics")
            total = sum(
                float(line.rpartition(" ")[2])
                for line in metrics.text.splitlines()
                if line.startswith("collage_query_latency_seconds_count")
            )
            counted[metrics.headers["collage-replica"]] = int(total)
        assert counted == asked  # each is a gateway of its own


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve's own settings
def test_a_replica_that_dies_under_load_takes_no_more_with_it_than_it_had(two_replicas: str, png: Any) -> None:
    """Nobody gets a wrong answer, most get one, and Serve starts another gateway in its place."""
    import ray

    askers, prefix = 6, "SERVE_REPLICA::"

    async def main() -> None:
        first, replaced = set[str](), asyncio.Event()
        good, errors = 0, 0

        async def ask(number: int, client: httpx.AsyncClient) -> None:
            nonlocal good, errors
            query = number
            while not replaced.is_set():
                query += askers
                answer = await client.post("/v1/classify", content=png(query % 10))
                if answer.status_code >= 500:  # of the proxy: its replica has gone
                    errors += 1
                    continue
                assert (answer.status_code, answer.json()["label"]) == (200, f"g{query % 10}")
                good += 1
                replica = answer.headers["collage-replica"]
                if len(first) < 2:
                    first.add(replica)
                    if len(first) == 2:
                        (named,) = (
                            actor
                            for actor in ray.util.list_named_actors(all_namespaces=True)
                            if actor["name"].startswith(prefix) and actor["name"].endswith(replica)
                        )
                        ray.kill(ray.get_actor(named["name"], namespace=named["namespace"]))
                elif replica not in first:
                    replaced.set()

        async with httpx.AsyncClient(base_url=two_replicas, timeout=60) as client:
            await asyncio.gather(*(ask(number, client) for number in range(askers)))
        assert good > errors
        assert errors <= 3 * askers, "what it had in flight, and what was sent before the proxy knew"

    asyncio.run(main())
