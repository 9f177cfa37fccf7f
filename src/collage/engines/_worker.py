"""A worker process: loads its models, then runs one job at a time until the gateway goes away.

    python -P -m collage.engines._worker SOCKET_FD MEMORY_FD THREADS NICE MODEL.onnx...

It imports little, so that it is there soon after a restart; it waits in a blocking read, so that idle it costs nothing;
and it ends when its socket does, so that it never outlives the gateway, however that ended.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from typing import Any

import numpy as np
import onnxruntime as ort

from collage.engines._wire import MAX_DIMS, MAX_PAYLOAD, FloatArray, Frame, Kind, Parser, Window, WireError, pack


class Model:
    """One ONNX model, of a path or of a file's content. gpu: on CUDA; by default on the CPU."""

    def __init__(self, model: str | bytes, threads: int, *, gpu: bool = False) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning pool would take the cores from the workers that have work to do.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        wanted = ["CUDAExecutionProvider"] if gpu else []
        self._session = ort.InferenceSession(model, options, providers=[*wanted, "CPUExecutionProvider"])
        if missing := set(wanted) - set(self._session.get_providers()):  # it would be a CPU's work on a GPU's share
            raise ValueError(f"a GPU is asked for, but ONNX Runtime has no {missing.pop()} here")
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            name = model if isinstance(model, str) else "the file"
            raise ValueError(f"{name}: a model needs exactly one float32 input, not {[i.type for i in inputs]}")
        self._input = inputs[0].name
        self._output = self._session.get_outputs()[0].name
        shape = inputs[0].shape[1:]  # (N, C, H, W)
        if all(isinstance(side, int) for side in shape):
            self.run(np.zeros((1, *shape), np.float32))  # the first run allocates: not on a query's time

    def run(self, inputs: FloatArray) -> FloatArray:
        """(n, C, H, W) -> the model's first output. Raises whatever ONNX Runtime raises for inputs that do not fit."""
        result: Any = self._session.run([self._output], {self._input: inputs})[0]
        output: FloatArray = np.ascontiguousarray(result, np.float32)
        if output.ndim > MAX_DIMS or output.nbytes > MAX_PAYLOAD:
            raise ValueError(f"an output of shape {output.shape} is over the limits")
        return output


class Worker:
    """Answers the frames of one gateway."""

    def __init__(self, sock: socket.socket, window: Window) -> None:
        self._sock = sock
        self._window = window
        self._models: list[Model] = []

    def load(self, paths: list[str], threads: int) -> bool:
        """Load all models and say so. False, and the gateway knows why, where one cannot be loaded."""
        try:
            self._models = [Model(path, threads) for path in paths]
        except Exception as error:  # whatever a file that is no model raises
            self._send(Frame(Kind.BROKEN, payload=_brief(error)))
            return False
        self._send(Frame(Kind.READY))
        return True

    def serve(self) -> None:
        """Run jobs until the gateway goes away."""
        parser = Parser()
        while data := self._sock.recv(65536):
            for frame in parser.feed(data):
                self._send(self._answer(frame))

    def _answer(self, frame: Frame) -> Frame:
        began = time.perf_counter()
        if frame.kind is not Kind.RUN:
            raise WireError(f"the gateway sent {frame.kind.name}")
        inputs = self._window.read(frame.shape)
        try:
            output = self._models[frame.role].run(inputs)
            answer = Frame(Kind.DONE, shape=output.shape, payload=output.tobytes())
        except Exception as error:  # inputs that do not fit the model
            answer = Frame(Kind.FAILED, payload=_brief(error))
        self._hold(began + frame.seconds)
        return answer._replace(job=frame.job, seconds=time.perf_counter() - began)

    def _hold(self, until: float) -> None:
        """Keep the slot until then. A gateway that goes away meanwhile is noticed at once."""
        while (remaining := until - time.perf_counter()) > 0:
            readable, _, _ = select.select([self._sock], [], [], remaining)
            if readable and not self._sock.recv(1, socket.MSG_PEEK):
                sys.exit(0)

    def _send(self, frame: Frame) -> None:
        self._sock.sendall(pack(frame))


def _brief(error: Exception) -> bytes:
    """The error in one line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:500].encode()


def main(arguments: list[str]) -> int:
    """Run the worker; 0 where the gateway ended it."""
    # Ctrl-C and a supervisor's SIGTERM reach the whole process group: the gateway drains first, then closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock_fd, memory_fd, threads, nice, *paths = arguments
    os.nice(int(nice))
    worker = Worker(socket.socket(fileno=int(sock_fd)), Window(int(memory_fd)))
    try:
        if not worker.load(paths, int(threads)):
            return 1
        worker.serve()
    except (BrokenPipeError, ConnectionResetError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
