"""The client of a request, going away before its answer is there."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect

DEPARTURE = "collage.departure"  # in a request's scope, where its connection tells of it


class Departure:
    """Told by the connection when it has ended. Work that is done inside it is cancelled then.

    A callback instead of a second task that waits for the end: a task, and waiting for either of the two, would cost
    each request more than all that the dispatcher does for it.
    """

    __slots__ = ("_task", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._task: asyncio.Task[object] | None = None  # inside

    def tell(self) -> None:
        """The client has gone."""
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> None:
        """Around what is done for this client. Raises ClientDisconnect where it goes, or has gone."""
        if self.gone:
            raise ClientDisconnect
        self._task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self.gone and isinstance(error, asyncio.CancelledError):
            assert task is not None
            task.uncancel()
            raise ClientDisconnect from None
