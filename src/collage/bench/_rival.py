"""A rival that is not ours: a client library that hedges by itself, before a gateway that makes no backups.

hedge-python (a port of Go's bhope/hedge) learns the latency it sees, sends a request a second time once that one is
later than a quantile of it, takes the first answer, cancels the other request, and keeps to a budget. It stands here as
its documentation says, but that what it sends goes to the data plane without a socket between, as every policy's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
from hedge import HedgeConfig
from hedge.transport import HedgedHttpxTransport

from collage.bench._plane import Work, work
from collage.dispatch import Policy
from collage.serving import Classified, DataPlane, Encoded


class HedgingClient:
    """Classifies files through the library.

    policy: its budget and its trigger are the library's own; rate: requests a second.
    """

    def __init__(self, plane: DataPlane, files: Sequence[bytes], policy: Policy, rate: float) -> None:
        class _Plane(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                """GET /<number of the file>; the answer travels beside the response."""
                (answer,) = await plane.classify([Encoded(files[int(request.url.path[1:])])])
                return httpx.Response(200, extensions={"answer": answer})

        config = HedgeConfig(percentile=policy.late_quantile, budget_percent=100 * policy.budget, estimated_rps=rate)
        self._plane = plane
        self._transport = HedgedHttpxTransport(inner=_Plane(), config=config)
        self._client = httpx.AsyncClient(transport=self._transport, base_url="http://gateway", timeout=None)

    async def classify(self, file: int) -> Classified:
        """The answer for the image file of this number. Raises Unavailable."""
        response = await self._client.get(f"/{file}")
        answer: Classified = response.extensions["answer"]
        return answer

    def work(self) -> Work:
        """What was spent so far. To the gateway a second request is one like any other: the seconds are shared out by
        the number of requests.
        """
        stats: Any = self._transport.stats
        spent = work(self._plane)
        share = stats.hedged_requests / max(1, stats.total_requests + stats.hedged_requests)
        return Work(spent.single_seconds * (1 - share), spent.single_seconds * share, stats.hedged_requests)

    async def close(self) -> None:
        """No more requests."""
        await self._client.aclose()
