"""Where a fault happens: a gateway process, its workers, and remote servers, of one of three layouts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from collage.bench.chaos._gateway import GatewayProcess
from collage.bench.chaos._identity import IdentityModels, make_models
from collage.bench.chaos._remote import RemoteProcess
from collage.bench.chaos._settings import ChaosSettings


class Layout(StrEnum):
    """Which workers there are."""

    POOL = "pool"  # local ones, each with both models
    DEDICATED = "dedicated"  # local ones, the last of which runs nothing but collages
    MIXED = "mixed"  # local ones, and remote servers


@dataclass(frozen=True)
class Stage:
    """What a fault has to play with."""

    layout: Layout
    gateway: GatewayProcess
    remotes: list[RemoteProcess]
    folder: Path


@asynccontextmanager
async def open_stage(settings: ChaosSettings, layout: Layout, folder: Path, **serving: object) -> AsyncIterator[Stage]:
    """The processes, started; all are gone at the end. serving: further settings of the gateway."""
    folder.mkdir(parents=True, exist_ok=True)
    models = make_models(folder / "models")
    remotes: list[RemoteProcess] = []
    if layout is Layout.MIXED:
        cards = [models.single, models.collage]
        remotes = [RemoteProcess(folder, cards, settings.single_seconds) for _ in range(settings.remotes)]
    gateway = GatewayProcess(
        folder,
        f"gateway-{layout}",
        _serving(settings, layout, models, remotes, folder) | serving,
        (settings.single_seconds, settings.collage_seconds),
    )
    try:
        for remote in remotes:
            await remote.start()
        await gateway.start()
        yield Stage(layout, gateway, remotes, folder)
    finally:
        await gateway.stop()
        for remote in remotes:
            await remote.stop()


def _serving(
    settings: ChaosSettings, layout: Layout, models: IdentityModels, remotes: list[RemoteProcess], folder: Path
) -> dict[str, object]:
    serving: dict[str, object] = {
        "single": str(models.single),
        "backup": str(models.collage),
        "policy": "collage-dedicated" if layout is Layout.DEDICATED else "collage",
        "show_collages": False,
        "grpc_port": 0,
        "max_deadline": max(60.0, settings.deadline),
    }
    if not remotes:
        return serving | {"workers": settings.workers}
    fleet = folder / "fleet.toml"
    urls = json.dumps([remote.url for remote in remotes])
    fleet.write_text(
        f"[[local]]\nworkers = {settings.workers - len(remotes)}\n\n[[remote]]\nurls = {urls}\nprobe_interval = 0.2\n",
        "utf-8",
    )
    return serving | {"fleet": str(fleet)}
