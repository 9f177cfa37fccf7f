"""The sync client."""

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


class Client:
    """Asks one gateway. May be shared by threads.

    url: http(s)://HOST:PORT. model, version: which of the gateway's models; by default its default one, whichever
    version is current. api_key: sent as a bearer token. timeout: seconds that the gateway may be silent, whatever the
    deadline. connections: kept and open at most. ca, certificate: for TLS, a file of trusted certificates, and the
    client's own with its key. Nothing is read from the environment.

    What is refused is not sent again: whoever calls knows best whether a late answer is still worth its work. Every
    error is a `GatewayError`; arguments that make no sense raise InvalidInput or SettingsError.
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
        self._http = httpx.Client(
            **settings_of(
                url, api_key=api_key, timeout=timeout, connections=connections, ca=ca, certificate=certificate
            )
        )

    def classify(
        self,
        image: Image,
        *,
        deadline: float | None = None,
        accept_degraded: bool = True,
        top: int = 1,
        request_id: str | None = None,
    ) -> Answer:
        """One image's answer.

        image: a JPEG, PNG or WebP file's bytes or its path; pixels, uint8 (H, W), (H, W, 1) or (H, W, 3); or the
        model's own tensor, float32 (C, H, W). deadline: seconds, by default the gateway's. accept_degraded: whether a
        backup's answer will do. top: how many classes to name. request_id: comes back with the answer, and is in the
        gateway's log.

        Raises RequestRefused, NotAllowed, GatewayBusy, GatewayTooLate, GatewayUnreachable; InvalidInput for what is no
        image, OSError where a path cannot be read.
        """
        options = check_options(deadline, accept_degraded, top, request_id)
        (part,) = parts_of([image], 1)
        return (self._infer(part, options))[0]

    def classify_many(
        self,
        images: Iterable[Image],
        *,
        deadline: float | None = None,
        accept_degraded: bool = True,
        top: int = 1,
        request_id: str | None = None,
        per_request: int = 64,
    ) -> list[Answer]:
        """The images' answers, in order; as `classify` otherwise. No image: no request.

        They travel up to `per_request` in one request, one request after the other, and the deadline is each request's.
        Where one of a request is refused, all are.
        """
        options = check_options(deadline, accept_degraded, top, request_id)
        answers: list[Answer] = []
        for part in parts_of(images, per_request):
            answers += self._infer(part, options)
        return answers

    def ready(self) -> bool:
        """Whether the gateway answers queries now; False also where nothing answers."""
        try:
            response = self._http.get("/v2/health/ready")
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    def models(self) -> list[str]:
        """Names of the gateway's models, its default one first."""
        return read_index(self._ask(index_ask(), self._timeout))

    def model(self) -> Model:
        """The model that is asked: its classes, versions and tensor. Asked for once."""
        if self._model is None:
            name = self._name
            if name is None:
                names = self.models()
                if not names:
                    raise GatewayError("the gateway serves no model")
                name = names[0]
            self._model = read_model(self._ask(model_ask(name, self._version), self._timeout))
        return self._model

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _infer(self, part: Part, options: Options) -> list[Answer]:
        ask = infer_ask(self.model(), self._version, part, options)
        began = time.monotonic()
        try:
            body = self._ask(ask, time_for(options.deadline, self._timeout), options.request_id)
        except RequestRefused:
            self._model = None  # it may be another model by now, whose tensors have other names
            raise
        return read_answers(body, part.shape[0], time.monotonic() - began)

    def _ask(self, ask: Ask, seconds: float, request_id: str = "") -> bytes:
        with translated(self.url, request_id):
            response = self._http.request(
                ask.method, ask.path, content=ask.body or None, headers=dict(ask.headers), timeout=seconds
            )
        if response.status_code != 200:
            raise refusal(response.status_code, plain(response.headers), response.content, request_id)
        return response.content
