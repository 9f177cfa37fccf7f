"""The calls that go up the link: full images to a gateway, collages to a collage-cnn's server. Bytes are counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from collage.client import AsyncClient, Model
from collage.codes import Code, TileAnswer, make_code
from collage.dispatch import Source
from collage.exceptions import GatewayError, ModelError, SettingsError
from collage.serving._oip_request import LENGTH_HEADER
from collage.serving.edge._canvas_server import read_tiles, write_canvas
from collage.serving.edge._pictures import Pixels, canvas_of, jpeg_of
from collage.serving.edge._settings import EdgeSettings
from collage.zoo import ModelCard

_CONNECT_SECONDS = 5.0


class FullAnswer(NamedTuple):
    """What the gateway says of a full image: scores (classes,), as the single gives them."""

    scores: NDArray[np.float32]
    confidence: float
    source: Source
    degraded: bool


@dataclass(frozen=True)
class Known:
    """What was learnt of the models up there."""

    model: Model
    card: ModelCard | None = None  # of the collage-cnn
    code: Code | None = None

    @property
    def capacity(self) -> int:
        """Tiles of a collage; 1 without one."""
        return 1 if self.card is None else self.card.capacity


class Uplink:
    """Made and used on one event loop. Raises SettingsError for URLs that make no sense."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        key = None
        if settings.api_key_env is not None:
            key = os.environ.get(settings.api_key_env)
            if key is None:
                raise SettingsError(f"api_key_env: the environment has no {settings.api_key_env}")
        self._gateway = AsyncClient(
            settings.upstream, api_key=key, timeout=settings.timeout, connections=settings.uploads + 1
        )
        self._collage: httpx.AsyncClient | None = None
        if settings.collage is not None:
            self._collage = httpx.AsyncClient(
                base_url=settings.collage,
                timeout=httpx.Timeout(settings.timeout, connect=_CONNECT_SECONDS),
                trust_env=False,
            )
        self.known: Known | None = None
        self.sent: Counter[str] = Counter()  # calls: full, collage
        self.bytes: Counter[str] = Counter()  # of their bodies

    async def learn(self) -> Known:
        """Which models there are. Raises GatewayError or httpx's where nobody says, ModelError where they don't fit."""
        model = await self._gateway.model()
        found = Known(model)
        if self._collage is not None:
            index = (await self._collage.post("/v2/repository/index", json={})).raise_for_status().json()
            said = (await self._collage.get(f"/v2/models/{index[0]['name']}")).raise_for_status().json()
            card = ModelCard.model_validate_json(said["parameters"]["card"])
            if tuple(card.classes) != model.classes or card.output != model.scores:
                raise ModelError(f"{card.name}: its classes or scores are not those of {model.name}")
            found = Known(model, card, make_code(card))
        self.known = found
        return found

    async def reachable(self) -> bool:
        """Whether the gateway answers."""
        return await self._gateway.ready()

    async def full(self, file: bytes, deadline: float | None, accept_degraded: bool) -> FullAnswer:
        """A full image's answer. Raises GatewayError."""
        assert self.known is not None
        self.sent["full"] += 1
        self.bytes["full"] += len(file)
        classes = len(self.known.model.classes)
        answer = await self._gateway.classify(file, deadline=deadline, accept_degraded=accept_degraded, top=classes)
        scores = np.zeros(classes, np.float32)
        for candidate in answer.top:
            scores[candidate.index] = candidate.score
        return FullAnswer(scores, answer.confidence, Source(answer.source), answer.degraded)

    async def collage(self, identity: str, tiles: Sequence[Pixels]) -> dict[int, TileAnswer]:
        """Answers by position; absent: unknown. Raises GatewayError."""
        known = self.known
        assert known is not None
        assert known.card is not None
        assert known.code is not None
        assert known.card.grid is not None
        assert self._collage is not None
        file = jpeg_of(canvas_of(tiles, known.card.grid, known.card.preprocessing), self._settings.quality)
        body, size = write_canvas(identity, file)
        self.sent["collage"] += 1
        self.bytes["collage"] += len(file)
        try:
            response = await self._collage.post(
                f"/v2/models/{known.card.name}/infer",
                content=body,
                headers={LENGTH_HEADER: str(size), "Content-Type": "application/octet-stream"},
            )
            if response.status_code != 200:
                raise GatewayError(f"the collage's server: HTTP {response.status_code}", status=response.status_code)
            output = read_tiles(response.content, response.headers.get(LENGTH_HEADER))
            return known.code.decode(output, range(len(tiles)), {})
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise GatewayError(f"the collage's server: {type(error).__name__}: {error}") from None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        await self._gateway.aclose()
        if self._collage is not None:
            await self._collage.aclose()
