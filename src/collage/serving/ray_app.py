"""An application for Ray Serve: replicas that are a gateway each, behind Serve's own HTTP proxies.

    serve run collage.serving.ray_app:build replicas=2 workers=4 open=true

Arguments are the settings of `collage serve`, and: `config`, a TOML file of them; `replicas`; `cpus`, that a replica
takes of its node (by default one for each of its local workers' threads, or 1 with engine=ray).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collage.exceptions import SettingsError
from collage.serving._asgi import GatewayApp
from collage.serving._settings import ServingSettings, load_settings

_OWN = ("config", "replicas", "cpus")
_SERVES = ("port", "grpc_port", "tls_certificate", "tls_key", "tls_client_ca")
_HEADER = b"collage-replica"


def build(args: Mapping[str, Any]) -> Any:
    """The application, for `serve run` and for `import_path` in Serve's files. Raises SettingsError."""
    try:
        from ray import serve  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError("ray is not installed: pip install 'collage-inference[ray]'") from error

    settings = replica_settings(args)
    workers = settings.max_workers or settings.workers
    cpus = _number(args, "cpus", workers * settings.threads if settings.engine == "local" else 1)
    deployment = serve.deployment(
        name="Gateway",
        num_replicas=int(_number(args, "replicas", 1)),
        # More than a gateway takes: what is too much it refuses at once. Serve's own limit, 5, would leave no group.
        max_ongoing_requests=2 * settings.max_queue,
        graceful_shutdown_timeout_s=settings.drain_seconds + 5.0,
        ray_actor_options={"num_cpus": cpus},
    )

    def make() -> ASGIApp:
        return as_replica(GatewayApp(settings), serve.get_replica_context().replica_id.unique_id)

    return deployment(serve.ingress(make)()).bind()


def replica_settings(args: Mapping[str, Any]) -> ServingSettings:
    """The settings of each replica's gateway.

    Other machines can reach Serve's proxies, for all that is known here: so keys are needed, or open = true, unless
    `host` says that the proxies listen on this machine only. Raises SettingsError.
    """
    given = {name: value for name, value in args.items() if name not in _OWN}
    config = args.get("config")
    settings = load_settings(None if config is None else Path(config), **{"host": "0.0.0.0"} | given)
    for name in _SERVES:
        if name in given or (name != "port" and getattr(settings, name) is not None):
            raise SettingsError(f"{name}: it is Ray Serve that listens here; its own settings say where and how")
    fields = {name: getattr(settings, name) for name in ServingSettings.model_fields}
    # Of the class that every node can import; what a file says is read here.
    return ServingSettings.model_construct(_fields_set=settings.model_fields_set, **fields)


def _number(args: Mapping[str, Any], name: str, default: float) -> float:
    try:
        value = float(args.get(name, default))
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value <= 1024:
        raise SettingsError(f"{name}: {args[name]!r}; a number above 0 is needed")
    return value


def as_replica(app: ASGIApp, replica: str) -> ASGIApp:
    """The application, which says in each response which replica it is: metrics and workers are of one only.

    Nobody counts as a caller on the gateway's own machine: a proxy there may speak for anyone.
    """

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_HEADER, replica.encode())]
            await send(message)

        await app({**scope, "client": None}, receive, naming)

    return named
