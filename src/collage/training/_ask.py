"""Asking a single for its answers: chunk by chunk, at its own size, kept on disk as they come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collage.data import ImageFiles, decode_files
from collage.exceptions import ModelError
from collage.imaging import Preprocessing
from collage.training._device import CPU
from collage.training._rebuild import net_from_model
from collage.training._views import Views, apply_views, show
from collage.zoo import LoadedModel, open_session, run_batch

_CHUNK = 256  # images: what a kill costs at most
_CALL = 64  # views the single answers at once, at most
_CALL_GPU = 1024


class Pictures(Protocol):
    """Images at the single's own size, for it to answer."""

    def __len__(self) -> int: ...

    def chunks(self, start: int) -> Iterator[Tensor]:
        """uint8 (up to 256, C, S, S), from image `start` on."""

    def take(self, index: Tensor) -> Tensor:
        """The images at `index` (B,): uint8 (B, C, S, S)."""


class Planes:
    """Images in memory: uint8 (n, C, S, S)."""

    def __init__(self, pixels: Tensor) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def chunks(self, start: int) -> Iterator[Tensor]:
        """See Pictures."""
        for first in range(start, len(self._pixels), _CHUNK):
            yield self._pixels[first : first + _CHUNK]

    def take(self, index: Tensor) -> Tensor:
        """See Pictures."""
        return self._pixels.index_select(0, index)


class Files:
    """Image files, decoded as they are asked about: at the single's size they may be more than memory or disk holds."""

    def __init__(self, images: ImageFiles, preprocessing: Preprocessing) -> None:
        self._images, self._preprocessing = images, preprocessing

    def __len__(self) -> int:
        return len(self._images)

    def chunks(self, start: int) -> Iterator[Tensor]:
        """See Pictures."""
        chunk: list[Tensor] = []
        for index, pixels in enumerate(decode_files(self._images, self._preprocessing, start), start + 1):
            chunk.append(torch.from_numpy(pixels.copy()))
            if len(chunk) == _CHUNK or index == len(self):
                yield torch.stack(chunk).permute(0, 3, 1, 2)
                chunk = []

    def take(self, index: Tensor) -> Tensor:
        """See Pictures."""
        images = decode_files(self._images.take(index.numpy()), self._preprocessing)
        return torch.stack([torch.from_numpy(pixels.copy()) for pixels in images]).permute(0, 3, 1, 2)


def ask(
    single: LoadedModel,
    pictures: Pictures | Tensor,
    views: Views,
    shift: int,
    *,
    cache: Path,
    progress: Callable[[float], None] = lambda share: None,
    device: torch.device = CPU,
) -> Tensor:
    """The single's logits for `views` (V of each image, in the single's own pixels): (n, V, classes), float16.

    `pictures` may be pixels in memory, uint8 (n, C, S, S). Probabilities become their logarithms. What is asked is
    kept in `cache` chunk by chunk.
    """
    if cache.exists():
        return _read(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    answer, call = _answering(single, device)
    source = Planes(pictures) if isinstance(pictures, Tensor) else pictures
    count = len(views.flip) // len(pictures)
    shape = (len(pictures), count, len(single.card.classes))
    part, journal = cache.with_suffix(".part"), cache.with_suffix(".json")
    done = int(json.loads(journal.read_text())["done"]) if journal.exists() and part.exists() else 0
    kept = np.memmap(part, np.float16, "r+" if done else "w+", shape=shape)
    for pixels in source.chunks(done) if done < len(pictures) else ():
        scores = []
        for first in range(done * count, (done + len(pixels)) * count, call):
            index = torch.arange(first, min(first + call, (done + len(pixels)) * count))  # of views
            chosen = partial(_take, source, pixels, done)
            images = show(chosen, index // count, views.take(index), shift, single.card.preprocessing, device=device)
            scores.append(answer(images))  # (<= call, classes)
        answers = np.concatenate(scores)
        if single.card.output == "probabilities":
            answers = np.log(np.maximum(answers, 1e-8))
        kept[done : done + len(pixels)] = answers.reshape(len(pixels), count, -1)
        kept.flush()
        done += len(pixels)
        fresh = journal.with_suffix(".tmp")
        fresh.write_text(json.dumps({"done": done}))
        os.replace(fresh, journal)
        progress(done / len(pictures))
    fresh = cache.with_suffix(".tmp")
    torch.save(torch.from_numpy(np.array(kept)), fresh)
    os.replace(fresh, cache)
    del kept
    for path in (part, journal):
        path.unlink(missing_ok=True)
    return _read(cache)


def _take(source: Pictures, pixels: Tensor, first: int, index: Tensor) -> Tensor:
    """Images at `index`: of those at hand, which begin with number `first`, or else of all."""
    if int(index.min()) >= first and int(index.max()) < first + len(pixels):
        return pixels.index_select(0, index - first)
    return source.take(index)


def _answering(single: LoadedModel, device: torch.device) -> tuple[Callable[[Tensor], NDArray[np.float32]], int]:
    """What answers normalised images (B, C, S, S) on `device` with (B, classes), and how many at once.

    On a GPU that is the torch net which the single was exported from; where that cannot be rebuilt, the file answers on
    the processor.
    """
    try:
        net = None if device.type == "cpu" else net_from_model(single)
    except ModelError:
        net = None
    if net is None:
        session = open_session(single.path, threads=torch.get_num_threads())
        return lambda images: run_batch(session, images.cpu().numpy()), _CALL
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def answer(images: Tensor) -> NDArray[np.float32]:
        with torch.autocast(device.type, torch.float16):  # answers are kept at no more than this precision
            scores: Tensor = net(images.contiguous(memory_format=torch.channels_last))
        return scores.float().cpu().numpy()

    return answer, _CALL_GPU


def time_single(single: LoadedModel, pictures: Pictures) -> float:
    """Seconds in which the single answers one image, with all threads, after a first call."""
    session = open_session(single.path, threads=torch.get_num_threads())
    some = next(pictures.chunks(0))[:16]
    none = torch.zeros(len(some), dtype=torch.int64)
    images = apply_views(some, Views(none.bool(), none, none), 0, single.card.preprocessing).numpy()
    run_batch(session, images)
    began = time.perf_counter()
    run_batch(session, images)
    return (time.perf_counter() - began) / len(some)


def _read(cache: Path) -> Tensor:
    logits: Tensor = torch.load(cache, weights_only=True, mmap=True)
    return logits
