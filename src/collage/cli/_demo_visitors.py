"""The demo's visitors: real HTTP clients over loopback, a thread each, with a connection that is kept open."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from collage.zoo import Sample

_TIMEOUT = 30.0  # seconds


class Reply(NamedTuple):
    """What a visitor got for an image: the gateway's answer, and the time it took by the visitor's own watch."""

    sample: Sample
    label: str
    source: str
    confidence: float
    seconds: float
    accept_degraded: bool

    @property
    def right(self) -> bool:
        """The answer is the image's label."""
        return self.label == self.sample.label


class Visitors:
    """Several clients of one gateway. Use as a context: leaving it waits for what is under way."""

    def __init__(self, url: str, samples: Sequence[Sample], *, threads: int = 12, seed: int = 0) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._random = random.Random(seed)
        self._samples = samples
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="visitor")
        self._own = threading.local()
        self._open: set[http.client.HTTPConnection] = set()

    def __enter__(self) -> Visitors:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for connection in self._open:
            connection.close()

    def send(self, count: int, *, accept_degraded: bool = True) -> list[Future[Reply]]:
        """`count` drawn images at once, each by a visitor of its own."""
        drawn = self._random.sample(self._samples, count)
        return [self._threads.submit(self._classify, sample, accept_degraded) for sample in drawn]

    def burst_size(self, most: int) -> int:
        """How many visitors come at once this time: 1 to `most`."""
        return self._random.randint(1, most)

    def pause(self, mean: float) -> float:
        """Seconds to the next burst: exponential, so that arrivals know nothing of each other."""
        return self._random.expovariate(1 / mean)

    def get(self, path: str) -> dict[str, Any]:
        """JSON from the gateway. Raises OSError or http.client.HTTPException where it is gone."""
        return self._ask("GET", path, None)

    def post(self, path: str, **query: str) -> dict[str, Any]:
        """The same, to make something happen."""
        return self._ask("POST", f"{path}?{urlencode(query)}", b"")

    def _classify(self, sample: Sample, accept_degraded: bool) -> Reply:
        began = time.perf_counter()
        query = urlencode({"accept_degraded": str(accept_degraded).lower(), "top": 1})
        answer = self._ask("POST", f"/v1/classify?{query}", sample.path.read_bytes())
        seconds = time.perf_counter() - began
        return Reply(sample, answer["label"], answer["source"], answer["confidence"], seconds, accept_degraded)

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        kept: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if kept is not None:
            try:
                return self._exchange(kept, method, path, body)
            except (http.client.RemoteDisconnected, ConnectionError):
                pass  # the gateway closes connections that were idle for long: once more on a new one
        return self._exchange(http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT), method, path, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> dict[str, Any]:
        self._own.connection = None
        self._open.add(connection)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._open.discard(connection)
            raise
        self._own.connection = connection
        answer: dict[str, Any] = json.loads(content)
        if response.status != 200:
            raise OSError(f"the gateway said {response.status}: {answer.get('error', '')}")
        return answer


def replies(futures: Iterable[Future[Reply]]) -> list[Reply]:
    """The replies, in order. Raises what `Visitors` raises."""
    return [future.result() for future in futures]
