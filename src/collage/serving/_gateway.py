"""What every handler shares: the models, the limits, and the one way to classify."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from collage.exceptions import CollageError, DeadlineExceeded, InvalidInput, RateLimited, Unavailable
from collage.serving._departure import DEPARTURE, Departure
from collage.serving._http_gate import Gate
from collage.serving._inputs import Classified, ImageInput
from collage.serving._metrics import Metrics
from collage.serving._models import Models
from collage.serving._options import QueryOptions
from collage.serving._served import Served
from collage.serving._settings import ServingSettings
from collage.serving.logs import current_request
from collage.serving.safety import Call, Guard, Tenant, current_call

if TYPE_CHECKING:
    from collage.serving.traces._traces import Traces

# Why queries got no answer, for the metrics; the first that fits.
_WHY: tuple[tuple[type[BaseException], str], ...] = (
    (InvalidInput, "invalid"),
    (DeadlineExceeded, "deadline"),
    (RateLimited, "limited"),
    (Unavailable, "unavailable"),
    (ClientDisconnect, "cancelled"),
    (asyncio.CancelledError, "cancelled"),
)


@dataclass(frozen=True)
class Gateway:
    """One gateway's parts."""

    models: Models
    settings: ServingSettings
    gate: Gate
    guard: Guard
    metrics: Metrics
    traces: Traces | None = None

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.models.ready and not self.gate.closed

    def rejects_counted(self, queries: int = 1, served: Served | None = None) -> RejectsCounted:
        """Counts the queries as rejected where this raises; one where it is not known yet how many there are.

        served: what was asked, once that is known; its statistics count a failed request.
        """
        return RejectsCounted(self.metrics, queries, served)

    def admitted(self, tenant: Tenant) -> Admitted:
        """Around one request of the tenant's that asks for classes, before its body is read. Raises RateLimited."""
        return Admitted(self, tenant)

    async def answer(self, served: Served, images: Sequence[ImageInput], options: QueryOptions) -> list[Classified]:
        """The images' answers, in order, within the limits of the current call's tenant, and beside its images only.

        served: what answers, in use by the caller (`Models.use`).
        """
        call, notes = current_call.get(), current_request.get()
        if notes is not None:
            notes.queries = len(images)
            if self.traces is not None:
                notes.trace = self.traces.begin(notes)
        began = time.monotonic()
        with self.rejects_counted(len(images), served):
            if call is not None:
                call.admission.add(len(images) - call.admission.queries)
            answers = await served.plane.classify(
                images,
                deadline=options.deadline,
                accept_degraded=options.accept_degraded,
                key="" if call is None else call.tenant.key,
            )
        if notes is not None:
            notes.answered(answer.source.value for answer in answers)
        served.statistics.succeeded(answers, time.monotonic() - began)
        return answers

    async def classify(
        self, request: Request, served: Served, images: Sequence[ImageInput], options: QueryOptions
    ) -> list[Classified]:
        """The images' answers, in order; the request's body must have been read.

        Where the client goes away, its queries are cancelled and ClientDisconnect is raised.
        """
        with request.scope.get(DEPARTURE) or Departure():
            return await self.answer(served, images, options)


class RejectsCounted:
    """Around work for so many queries. A class: every request is in a few of these, and a generator costs more."""

    __slots__ = ("_began", "_metrics", "_queries", "_served")

    def __init__(self, metrics: Metrics, queries: int, served: Served | None) -> None:
        self._metrics, self._queries, self._served = metrics, queries, served

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, (CollageError, ClientDisconnect, asyncio.CancelledError)):
            return
        served = self._served
        why = next((why for kind, why in _WHY if isinstance(error, kind)), "failed")
        self._metrics.rejected.labels("" if served is None else served.name, why).inc(self._queries)
        if served is not None:
            served.statistics.failed(time.monotonic() - self._began)
        if (notes := current_request.get()) is not None:
            notes.why = why


class Admitted:
    """Around one request of a tenant's."""

    __slots__ = ("_admission", "_gateway", "_tenant")

    def __init__(self, gateway: Gateway, tenant: Tenant) -> None:
        self._gateway, self._tenant = gateway, tenant

    def __enter__(self) -> None:
        with self._gateway.rejects_counted():
            self._admission = self._tenant.enter()
            self._admission.__enter__()
        current_call.set(Call(self._tenant, self._admission))

    def __exit__(self, *_: object) -> None:
        self._admission.__exit__()
