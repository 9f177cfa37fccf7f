"""What every handler shares: the data plane, the model as clients see it, the limits, and the one way to classify."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from collage.exceptions import CollageError, DeadlineExceeded, InvalidInput, RateLimited, Unavailable
from collage.serving._departure import DEPARTURE, Departure
from collage.serving._http_gate import Gate
from collage.serving._inputs import Classified, ImageInput
from collage.serving._metrics import Metrics
from collage.serving._oip_model import OipModel
from collage.serving._options import QueryOptions
from collage.serving._settings import ServingSettings
from collage.serving.logs import current_request
from collage.serving.safety import Call, Guard, Tenant, current_call

if TYPE_CHECKING:
    from collage.serving._dataplane import DataPlane
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

    plane: DataPlane
    model: OipModel
    settings: ServingSettings
    gate: Gate
    guard: Guard
    metrics: Metrics
    traces: Traces | None = None

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.plane.ready and not self.gate.closed

    @contextlib.contextmanager
    def rejects_counted(self, queries: int = 1) -> Iterator[None]:
        """Counts the queries as rejected where this raises; one where it is not known yet how many there are."""
        try:
            yield
        except (CollageError, ClientDisconnect, asyncio.CancelledError) as error:
            why = next((why for kind, why in _WHY if isinstance(error, kind)), "failed")
            self.metrics.rejected.labels(why).inc(queries)
            if (notes := current_request.get()) is not None:
                notes.why = why
            raise

    @contextlib.contextmanager
    def admitted(self, tenant: Tenant) -> Iterator[None]:
        """Around one request of the tenant's that asks for classes, before its body is read. Raises RateLimited."""
        with contextlib.ExitStack() as stack:
            with self.rejects_counted():
                admission = stack.enter_context(tenant.enter())
            current_call.set(Call(tenant, admission))
            yield

    async def answer(self, images: Sequence[ImageInput], options: QueryOptions) -> list[Classified]:
        """The images' answers, in order, within the limits of the current call's tenant, and beside its images only."""
        call, notes = current_call.get(), current_request.get()
        if notes is not None:
            notes.queries = len(images)
            if self.traces is not None:
                notes.trace = self.traces.begin(notes)
        with self.rejects_counted(len(images)):
            if call is not None:
                call.admission.add(len(images) - call.admission.queries)
            answers = await self.plane.classify(
                images,
                deadline=options.deadline,
                accept_degraded=options.accept_degraded,
                key="" if call is None else call.tenant.key,
            )
        if notes is not None:
            notes.answered(answer.source.value for answer in answers)
        return answers

    async def classify(self, request: Request, images: Sequence[ImageInput], options: QueryOptions) -> list[Classified]:
        """The images' answers, in order; the request's body must have been read.

        Where the client goes away, its queries are cancelled and ClientDisconnect is raised.
        """
        with request.scope.get(DEPARTURE) or Departure():
            return await self.answer(images, options)
