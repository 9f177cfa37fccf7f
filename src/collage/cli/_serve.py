"""`collage serve`: the gateway and its workers."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    *,
    config: Path | None = typer.Option(None, "--config", "-c", help="TOML file with any of the settings."),
    host: str | None = typer.Option(None, help="Address to listen on (default 127.0.0.1)"),
    port: int | None = typer.Option(None, help="TCP port; 0 picks a free one (default 8080)"),
    grpc_port: int | None = typer.Option(None, help="TCP port of gRPC; 0 picks a free one (default: no gRPC)"),
    single: str | None = typer.Option(None, help="Name or path of the single (default fashion-mnist-single)"),
    backup: list[str] | None = typer.Option(
        None, help="Name or path of its backup, or 'none'; may be repeated (default: the shipped ones for the policy)"
    ),
    engine: str | None = typer.Option(None, help="What runs the workers: local, or ray (default local)"),
    ray_address: str | None = typer.Option(None, help="HOST:PORT of a Ray cluster (default: one of its own, here)"),
    ray_cpus: float | None = typer.Option(None, help="CPUs that a worker takes of its Ray node (default 1)"),
    ray_gpus: float | None = typer.Option(None, help="GPUs that a worker takes of its Ray node (default 0)"),
    workers: int | None = typer.Option(None, help="Workers (default 4)"),
    min_workers: int | None = typer.Option(None, help="Fewest workers, where they follow the load (default 1)"),
    max_workers: int | None = typer.Option(None, help="Most workers; given, their number follows the load"),
    fleet: Path | None = typer.Option(
        None, help="TOML file that names the workers, some here, some on remote servers; instead of --workers"
    ),
    threads: int | None = typer.Option(None, help="Threads of one worker's model runtime (default 1)"),
    policy: str | None = typer.Option(None, help="Policy preset (default auto)"),
    max_queue: int | None = typer.Option(None, help="Queries without an answer; beyond it 503 (default 256)"),
    default_deadline: float | None = typer.Option(None, help="Seconds a query may take (default 10)"),
    drain_seconds: float | None = typer.Option(None, help="Seconds to finish after SIGTERM (default 10)"),
    open_: bool | None = typer.Option(
        None, "--open/--no-open", help="Listen for other machines even without keys (default: refuse to)"
    ),
    demo: bool | None = typer.Option(None, "--demo/--no-demo", help="A button that makes a worker straggle."),
    log_level: str | None = typer.Option(None, help="critical, error, warning, info or debug (default info)"),
    log_format: str | None = typer.Option(None, help="Lines of the log: text or json (default text)"),
) -> None:
    """Serve a classifier with a backup behind it: Open Inference Protocol v2, and images by plain HTTP POST.

    Every setting can also come from the file or from the environment, as COLLAGE_SERVE_PORT=9000; flags win over the
    environment, and the environment over the file.
    """
    from collage.serving import DataPlane, load_settings, logs_written
    from collage.serving import serve as serve_until_stopped

    settings = load_settings(
        config,
        host=host,
        port=port,
        grpc_port=grpc_port,
        single=single,
        backup=backup or None,
        engine=engine,
        ray_address=ray_address,
        ray_cpus=ray_cpus,
        ray_gpus=ray_gpus,
        workers=workers,
        min_workers=min_workers,
        max_workers=max_workers,
        fleet=fleet,
        threads=threads,
        policy=policy,
        max_queue=max_queue,
        default_deadline=default_deadline,
        drain_seconds=drain_seconds,
        open=open_,
        demo=demo,
        log_level=log_level,
        log_format=log_format,
    )
    plane = DataPlane(settings)

    def say(url: str) -> None:
        backup = ", ".join(model.card.name for model in plane.backups) or "no model of its own"
        workers = len(plane.engine.workers)
        typer.echo(f"{plane.single.card.name} on {workers} workers, policy {settings.policy}, backup: {backup}")
        typer.echo(f"Serving at {url}  (try: curl --data-binary @IMAGE {url}/v1/classify)")

    def say_grpc(address: str) -> None:
        typer.echo(f"gRPC at {address}")

    with logs_written(settings):
        serve_until_stopped(settings, on_ready=say, plane=plane, on_grpc=say_grpc)
