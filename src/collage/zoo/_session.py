"""ONNX Runtime, set up the one way that keeps a worker's time its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from collage.exceptions import ModelError

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session with `threads` threads for one operator. Raises ModelError for a file that is no usable model.

    Its threads sleep while they wait: spinning ones would take the cores of the other workers, and so make the very
    stragglers that a backup is for.
    """
    import onnxruntime  # noqa: PLC0415 - half a second, which `collage models` need not pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: the rest is about how a graph was built
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no public base
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({' '.join(str(error).split())[:200]})") from error


def run_batch(session: onnxruntime.InferenceSession, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output for `inputs` (B, ...), as one array; call by call where the model takes one image at a time."""
    name, output = session.get_inputs()[0], session.get_outputs()[0].name
    if name.shape[0] == 1:
        parts = [session.run([output], {name.name: inputs[i : i + 1]})[0] for i in range(len(inputs))]
        return np.concatenate(parts)
    return np.asarray(session.run([output], {name.name: inputs})[0])
