"""The served model as the Open Inference Protocol shows it: names, datatypes, shapes, versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from collage import __version__
from collage.exceptions import ModelError
from collage.zoo import LoadedModel, open_session

SERVER_NAME = "collage"
NOT_READY = "no worker is up, or the service is stopping"
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository", "statistics"]


@dataclass(frozen=True)
class OipModel:
    """One model that clients can name. Clients see the single; which worker answered is in the response parameters."""

    name: str
    version: str
    classes: tuple[str, ...]
    scores: Literal["logits", "probabilities"]
    input_name: str
    input_shape: tuple[int, int, int]  # of one image (C, H, W)
    output_name: str

    @classmethod
    def of(cls, model: LoadedModel, *, name: str | None = None, version: str | None = None) -> OipModel:
        """The model with its tensors' names, which only the ONNX file knows; name, version: in place of its card's.

        Raises ModelError where the file has not one input and one output.
        """
        session = open_session(model.path)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"{model.path}: a single needs one input and one output; it has {len(inputs)} and {len(outputs)}"
            )
        card = model.card
        return cls(
            name=name or card.name,
            version=version or card.version,
            classes=tuple(card.classes),
            scores=card.output,
            input_name=inputs[0].name,
            input_shape=(card.preprocessing.channels, card.preprocessing.size, card.preprocessing.size),
            output_name=outputs[0].name,
        )

    def metadata(self, versions: Sequence[str]) -> dict[str, Any]:
        """The protocol's model metadata; versions: all that are served.

        The input's datatype is the model's own; `parameters` names the others.
        """
        return {
            "name": self.name,
            "versions": list(versions),
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": self.input_name, "datatype": "FP32", "shape": [-1, *self.input_shape]}],
            "outputs": [{"name": self.output_name, "datatype": "FP32", "shape": [-1, len(self.classes)]}],
            "parameters": {
                "input_datatypes": "FP32, UINT8, BYTES",
                "scores": self.scores,
                "classes": orjson.dumps(self.classes).decode(),
            },
        }


def server_metadata() -> dict[str, Any]:
    """The protocol's server metadata."""
    return {"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS}
