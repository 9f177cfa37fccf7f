"""The relay: images of an edge's cameras in, answers out, as little as the mode wants up the link.

The machine decides; here are pixels, sockets and the clock. One machine, driven as the dispatcher is: events are
handled one after the other on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from collage.codes import TileAnswer
from collage.dispatch import Outcome, Source
from collage.exceptions import (
    CollageError,
    DeadlineExceeded,
    GatewayBusy,
    GatewayError,
    GatewayTooLate,
    GatewayUnreachable,
    InvalidInput,
    RequestRefused,
    Unavailable,
)
from collage.imaging import ImageLimits, decode_image, image_from_pixels, useful_side
from collage.serving._inputs import Classified, Encoded, ImageInput
from collage.serving._inputs import Pixels as PixelsInput
from collage.serving._settings import ServingSettings
from collage.serving.edge._machine import Action, Answer, EdgeMachine, Mode, Refuse, SendCanvas, SendFull
from collage.serving.edge._pictures import Pixels, jpeg_of, tile_of
from collage.serving.edge._settings import EdgeSettings
from collage.serving.edge._uplink import FullAnswer, Known, Uplink

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0  # between two looks for an uplink that is not there


@dataclass(eq=False, slots=True)
class _Query:
    file: bytes  # the full image
    tile: Pixels | None
    accept_degraded: bool
    deadline: float | None
    result: asyncio.Future[tuple[Answer | Refuse, FullAnswer | TileAnswer | None]]
    full: FullAnswer | None = None
    seen: TileAnswer | None = None
    error: GatewayError | None = None


class Relay:
    """One edge. `start` comes first. limits: of what a camera may send."""

    def __init__(self, settings: EdgeSettings, limits: ServingSettings) -> None:
        self.settings = settings
        self._limits = limits
        self._image_limits = ImageLimits(max_bytes=limits.max_image_bytes, max_pixels=limits.max_image_pixels)
        self._uplink = Uplink(settings)
        self._machine: EdgeMachine | None = None
        self._queries: dict[int, _Query] = {}
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._there = False  # whether the gateway answered when it was last asked
        self.answered: Counter[Source] = Counter()
        self.refused: Counter[str] = Counter()

    @property
    def known(self) -> Known | None:
        """What was learnt of the models up there; None: nothing yet."""
        return self._uplink.known

    @property
    def ready(self) -> bool:
        """Whether there is anybody to ask."""
        return self._there and self.known is not None

    async def start(self) -> None:
        """Begin to look for the models; queries are refused until they are known."""
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Refuse what is left, and close. Idempotent."""
        if self._watcher is not None:
            self._watcher.cancel()
        for task in list(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, *([self._watcher] if self._watcher else []), return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        for query in self._queries.values():
            if not query.result.done():
                query.result.set_exception(Unavailable("the edge is stopping"))
        self._queries.clear()
        await self._uplink.close()

    async def classify(
        self, images: Sequence[ImageInput], *, deadline: float | None, accept_degraded: bool
    ) -> list[Classified]:
        """The images' answers, in order. deadline: seconds from now.

        All are checked before the first is sent. Raises InvalidInput, Unavailable, DeadlineExceeded.
        """
        known, began = self.known, time.monotonic()
        if known is None:
            raise Unavailable("the models upstream are not known yet: nothing answers at the uplink's end")
        if len(self._queries) + len(images) > self._limits.max_queue:
            raise Unavailable(f"{len(self._queries)} images wait for the uplink (max {self._limits.max_queue})")
        fields = ["image"] if len(images) == 1 else [f"images[{index}]" for index in range(len(images))]
        read = [
            await asyncio.to_thread(self._read, image, field, known)
            for image, field in zip(images, fields, strict=True)
        ]
        until = None if deadline is None else began + deadline
        numbers = [self._submit(file, tile, accept_degraded, until) for file, tile in read]
        results = [self._queries[number].result for number in numbers if number in self._queries]
        try:
            done = await asyncio.gather(*results)
        finally:
            for number in numbers:
                if self._queries.pop(number, None) is not None and self._machine is not None:
                    self._handle(self._machine.cancelled, number)
        return [self._classified(*each, known, began) for each in done]

    def counts(self) -> dict[str, Any]:
        """What has been so far: calls and bytes of bodies up, answers by source, refusals, this process's CPU."""
        return {
            "mode": self.settings.mode.value,
            "calls_up": dict(self._uplink.sent),
            "bytes_up": dict(self._uplink.bytes),
            "answers": {source.value: count for source, count in self.answered.items()},
            "refused": dict(self.refused),
            "waiting": len(self._queries),
            "cpu_seconds": round(time.process_time(), 3),
        }

    # One image.

    def _read(self, image: ImageInput, field: str, known: Known) -> tuple[bytes, Pixels | None]:
        """Its full image's file, and its tile where one is wanted. On a thread. Raises InvalidInput."""
        if isinstance(image, Encoded):
            file, picture = image.data, None
            if len(file) > self._image_limits.max_bytes:
                decode_image(file, self._image_limits, field=field)  # says what is wrong
        elif isinstance(image, PixelsInput):
            picture = image_from_pixels(image.array, field=field)
            file = jpeg_of(np.asarray(picture).reshape(*image.array.shape[:2], -1), self.settings.quality)
        else:
            raise InvalidInput("an edge takes image files (BYTES) or pixels (UINT8), no tensors", field=field)
        card = known.card
        if card is None and self.settings.full == "original":
            return file, None
        if picture is None:
            picture = decode_image(file, self._image_limits, field=field, shorter=self._shorter(known))
        if self.settings.full == "resized":
            file = jpeg_of(_shrunk(picture, known.model.input_shape), self.settings.quality)
        return file, None if card is None else tile_of(picture, card.preprocessing)

    def _shorter(self, known: Known) -> int | None:
        """Pixels of a picture's shorter side that are enough for all that is made of it; None: every one."""
        sides = [] if known.card is None else [useful_side(known.card.preprocessing)]
        if self.settings.full == "resized":
            sides.append(max(known.model.input_shape[1:]))
        return None if None in sides else max(side for side in sides if side is not None)

    def _submit(self, file: bytes, tile: Pixels | None, accept_degraded: bool, deadline: float | None) -> int:
        machine = self._machine
        assert machine is not None
        self._last += 1
        result = asyncio.get_running_loop().create_future()
        self._queries[self._last] = _Query(file, tile, accept_degraded, deadline, result)
        self._handle(machine.submit, self._last, deadline, accept_degraded)
        return self._last

    def _classified(
        self, said: Answer | Refuse, found: FullAnswer | TileAnswer | None, known: Known, began: float
    ) -> Classified:
        assert found is not None
        source = found.source if isinstance(found, FullAnswer) else Source.COLLAGE
        index = int(found.scores.argmax())
        self.answered[source] += 1
        return Classified(
            scores=found.scores,
            label=known.model.classes[index],
            index=index,
            source=source,
            degraded=source.degraded,
            confidence=found.confidence,
            seconds=time.monotonic() - began,
            temperature=known.card.temperature if known.card is not None and source is Source.COLLAGE else 1.0,
        )

    # The machine.

    def _handle(self, event: Callable[..., list[Action]], *details: Any) -> None:
        for action in event(*details, time.monotonic()):
            match action:
                case SendFull(query):
                    self._call(self._send_full(query))
                case SendCanvas(canvas, queries):
                    self._call(self._send_canvas(canvas, queries))
                case Answer() | Refuse():
                    self._resolve(action)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        machine = self._machine
        if machine is not None and (when := machine.next_tick) is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, when - time.monotonic()), self._handle, machine.tick)

    def _resolve(self, action: Answer | Refuse) -> None:
        query = self._queries.get(action.query)
        if query is None or query.result.done():
            return
        if isinstance(action, Answer):
            query.result.set_result((action, query.seen if action.by_tile else query.full))
        else:
            self.refused[action.why] += 1
            query.result.set_exception(_refusal(action.why, query.error))

    def _call(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _send_full(self, number: int) -> None:
        machine, query = self._machine, self._queries.get(number)
        assert machine is not None
        if query is None:
            self._handle(machine.full_ended, number, False)
            return
        left = None if query.deadline is None else max(0.001, query.deadline - time.monotonic())
        try:
            query.full = await self._uplink.full(query.file, left, query.accept_degraded)
            self._there = True
        except CollageError as error:
            query.error = error if isinstance(error, GatewayError) else GatewayError(str(error))
            self._there = not isinstance(error, GatewayUnreachable)
        except Exception as error:
            _log.exception("a full image could not be sent")
            query.error = GatewayError(f"{type(error).__name__}: {error}")
        self._handle(machine.full_ended, number, query.full is not None)

    async def _send_canvas(self, canvas: int, numbers: tuple[int, ...]) -> None:
        machine, known = self._machine, self.known
        assert machine is not None
        assert known is not None
        outcomes: list[Outcome] | None = None
        queries = [self._queries.get(number) for number in numbers]
        tiles = [query.tile for query in queries if query is not None and query.tile is not None]
        try:
            if len(tiles) == len(queries):
                answers = await self._uplink.collage(f"{canvas}", tiles)
                outcomes = []
                for position, query in enumerate(queries):
                    found = answers.get(position)
                    if query is not None:
                        query.seen = found
                    outcomes.append(Outcome(found is not None, 0.0 if found is None else found.confidence))
        except GatewayError as error:
            _log.warning("a collage got no answer: %s", error)
        except Exception:
            _log.exception("a collage could not be sent")
            outcomes = None
        self._handle(machine.canvas_ended, canvas, outcomes)

    # Upstream.

    async def _watch(self) -> None:
        said = ""
        while True:
            try:
                if self.known is None:
                    known = await self._uplink.learn()
                    self._machine = self._make_machine(known)
                    self._there = True
                elif not self._there:
                    self._there = await self._uplink.reachable()
            except Exception as error:  # whatever is up there may say anything, and be another the next time
                if (why := f"{type(error).__name__}: {error}") != said:
                    _log.warning("upstream: %s", why)
                said = why
            await asyncio.sleep(_LOOK_SECONDS)

    def _make_machine(self, known: Known) -> EdgeMachine:
        settings, card = self.settings, known.card
        confident = card.calibration.confident if card is not None and card.calibration is not None else None
        threshold = settings.threshold if settings.threshold is not None else confident
        if threshold is None and settings.mode is Mode.FIRST:
            _log.warning("the backup's card has no `confident`: only sure tiles (1.0) answer; set threshold")
        return EdgeMachine(
            settings.mode,
            capacity=known.capacity,
            window=settings.window,
            patience=settings.patience,
            threshold=1.0 if threshold is None else threshold,
            uploads=settings.uploads,
        )


def _shrunk(picture: Image.Image, shape: tuple[int, int, int]) -> Pixels:
    """All of the picture, as small as the single's input allows: the single's own crop comes later."""
    channels, height, width = shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    scale = max(height / picture.height, width / picture.width)
    if scale < 1:
        size = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8).reshape(picture.height, picture.width, channels)


def _refusal(why: str, error: GatewayError | None) -> Exception:
    if why == "deadline" or isinstance(error, GatewayTooLate):
        return DeadlineExceeded("no answer came down the link within the deadline")
    if isinstance(error, RequestRefused):
        return InvalidInput(error.message)
    if isinstance(error, GatewayUnreachable):
        return Unavailable("the uplink is down: nothing answers at its end")
    after = error.retry_after if isinstance(error, GatewayBusy) and error.retry_after else 1.0
    return Unavailable(f"upstream: {error.message if error else 'no answer'}", retry_after=after)
