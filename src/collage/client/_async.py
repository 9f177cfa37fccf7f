"""The asyncio client."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from collage.client._answers import Answer, Model
from collage.client._http import plain, settings_of, time_for, translated
from collage.client._images import Image, Part, parts_of
from collage.client._wire import (
    Ask,
    Options,
    check_options,
    index_ask,
    infer_ask,
    model_ask,
    read_answers,
    read_index,
    read_model,
    refusal,
)
from collage.exceptions import GatewayError, RequestRefused


class AsyncClient:
    """Asks one gateway, from asyncio. For one event loop; any number of its tasks may share it.

    Arguments and errors are those of `Client`. To cancel the awaiting task cancels its queries at the gateway.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        model: str | None = None,
        version: str | None = None,
        api_key: str | None = None,
        timeout: float = 70.0,
        connections: int = 32,
        ca: str | Path | None = None,
        certificate: tuple[str | Path, str | Path] | None = None,
    ) -> None:
        self.url = url
        self._name, self._version = model, version
        self._timeout = timeout
        self._model: Model | None = None
        self._http = httpx.AsyncClient(
            **settings_of(
                url, api_key=api_key, timeout=timeout, connections=connections, ca=ca, certificate=certificate
            )
        )

    async def classify(
        self,
        image: Image,
        *,
        deadline: float | None = None,
        accept_degraded: bool = True,
        top: int = 1,
        request_id: str | None = None,
    ) -> Answer:
        """As `Client.classify`. A path is read, and pixels are packed, on the event loop."""
        options = check_options(deadline, accept_degraded, top, request_id)
        (part,) = parts_of([image], 1)
        return (await self._infer(part, options))[0]

    async def classify_many(
        self,
        images: Iterable[Image],
        *,
        deadline: float | None = None,
        accept_degraded: bool = True,
        top: int = 1,
        request_id: str | None = None,
        per_request: int = 64,
    ) -> list[Answer]:
        """As `Client.classify_many`. To have requests side by side, gather several calls."""
        options = check_options(deadline, accept_degraded, top, request_id)
        answers: list[Answer] = []
        for part in parts_of(images, per_request):
            answers += await self._infer(part, options)
        return answers

    async def ready(self) -> bool:
        """Whether the gateway answers queries now; False also where nothing answers."""
        try:
            response = await self._http.get("/v2/health/ready")
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    async def models(self) -> list[str]:
        """Names of the gateway's models, its default one first."""
        return read_index(await self._ask(index_ask(), self._timeout))

    async def model(self) -> Model:
        """The model that is asked: its classes, versions and tensor. Asked for once."""
        if self._model is None:
            name = self._name
            if name is None:
                names = await self.models()
                if not names:
                    raise GatewayError("the gateway serves no model")
                name = names[0]
            self._model = read_model(await self._ask(model_ask(name, self._version), self._timeout))
        return self._model

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _infer(self, part: Part, options: Options) -> list[Answer]:
        ask = infer_ask(await self.model(), self._version, part, options)
        began = time.monotonic()
        try:
            body = await self._ask(ask, time_for(options.deadline, self._timeout), options.request_id)
        except RequestRefused:
            self._model = None  # it may be another model by now, whose tensors have other names
            raise
        return read_answers(body, part.shape[0], time.monotonic() - began)

    async def _ask(self, ask: Ask, seconds: float, request_id: str = "") -> bytes:
        with translated(self.url, request_id):
            response = await self._http.request(
                ask.method, ask.path, content=ask.body or None, headers=dict(ask.headers), timeout=seconds
            )
        if response.status_code != 200:
            raise refusal(response.status_code, plain(response.headers), response.content, request_id)
        return response.content
