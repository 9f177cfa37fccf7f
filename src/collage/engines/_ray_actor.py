"""What runs on a node of a Ray cluster: one worker's models, one job at a time. Only nodes and tests import it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from collage.engines._wire import FloatArray
from collage.engines._worker import Model


class Sent(NamedTuple):
    """What an ONNX file is called, and its hash; its bytes come beside it."""

    name: str
    sha256: str


class Presence(NamedTuple):
    """Where a worker has come up, or why its models could not be loaded (broken)."""

    node: str
    process: int  # its id on that node
    broken: str


class RayWorker:
    """A Ray actor. Ray makes it again, empty, where its process or its node was lost; then it must load again."""

    def __init__(self, threads: int, *, gpu: bool) -> None:
        self._threads = threads
        self._gpu = gpu
        self._models: list[Model] = []
        self._watched = threading.Event()

    def load(self, sent: Sequence[Sent], *contents: bytes) -> Presence:
        """Load the models, unless they are. What goes wrong is said in one line, which Ray's own error would not be."""
        import ray  # noqa: PLC0415 - an extra

        broken = ""
        try:
            if not self._models:
                self._models = [self._load(file, content) for file, content in zip(sent, contents, strict=True)]
        except Exception as error:  # whatever a file that is no model raises
            broken = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return Presence(ray.get_runtime_context().get_node_id(), os.getpid(), broken)

    def watch(self) -> None:
        """Never returns, so that the caller hears at once of the worker's end; a later call releases it."""
        self._watched.set()
        watched = self._watched = threading.Event()
        watched.wait()

    def run(self, call: str, model: int, inputs: FloatArray, hold: float) -> tuple[str, float, FloatArray]:
        """The call's own name, its seconds, and the model's output for inputs (n, C, H, W). hold: the least seconds."""
        began = time.perf_counter()
        output = self._models[model].run(inputs)
        time.sleep(max(0.0, began + hold - time.perf_counter()))
        return call, time.perf_counter() - began, output

    def _load(self, file: Sent, content: bytes) -> Model:
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ValueError(f"{file.name}: what arrived is not what was sent")
        return Model(content, self._threads, gpu=self._gpu)
