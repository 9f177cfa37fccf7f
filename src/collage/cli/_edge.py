"""`collage edge`: a relay between cameras and a thin uplink, and what it needs at the other end."""

from __future__ import annotations

import logging

import typer

edge = typer.Typer(name="edge", help="Cameras behind a thin uplink.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(edge)


@edge.command()
def relay(
    *,
    upstream: str = typer.Option(help="URL of the gateway that full images go to."),
    collage: str | None = typer.Option(None, help="URL of the collage-cnn's server (`collage edge model`)."),
    mode: str = typer.Option("beside", help="What is sent: all, beside, collage-first."),
    full: str = typer.Option("original", help="A full image as it came, or resized to the single's input."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8070, help="TCP port; 0 picks a free one."),
    uploads: int = typer.Option(2, help="Full images on their way at a time."),
    window: float = typer.Option(0.1, help="The longest that a tile waits for others, seconds."),
    patience: float = typer.Option(1.0, help="beside: how long the full image's answer is preferred, seconds."),
    threshold: float | None = typer.Option(None, help="collage-first: a surer tile answers (default: the card's)."),
    quality: int = typer.Option(90, help="Of JPEG files that are made here."),
    api_key_env: str | None = typer.Option(None, help="Environment variable that holds the gateway's API key."),
    open_: bool = typer.Option(False, "--open", help="Listen for other machines, the cameras; there are no keys."),
) -> None:
    """Answer cameras, and send as little as the mode wants up a thin link."""
    from collage.serving.edge import make_edge_settings, serve_edge

    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel("WARNING")
    settings = make_edge_settings(
        upstream=upstream, collage=collage, mode=mode, full=full, host=host, port=port, uploads=uploads, window=window,
        patience=patience, threshold=threshold, quality=quality, api_key_env=api_key_env,
    )  # fmt: skip
    serve_edge(settings, lambda url: typer.echo(f"Serving at {url}, mode {settings.mode}"), open_=open_)


@edge.command()
def model(
    backup: str = typer.Argument(help="Name or path of a collage-cnn."),
    *,
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8071, help="TCP port; 0 picks a free one."),
    threads: int = typer.Option(1, min=1, max=64, help="Threads of the model's runtime."),
    open_: bool = typer.Option(False, "--open", help="Listen for other machines; there are no keys."),
) -> None:
    """Serve a collage-cnn to edges: one picture in, a row for each tile out."""
    from collage.serving.edge import serve_canvas
    from collage.zoo import load_model

    loaded = load_model(backup)
    say = loaded.card.name
    serve_canvas(loaded, host, port, lambda url: typer.echo(f"{say}. Serving at {url}"), threads=threads, open_=open_)
