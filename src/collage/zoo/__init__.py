"""The shipped ONNX models with their cards; loading a model by name or path."""

from collage.zoo._card import Accuracy, Cost, ModelCard

__all__ = ["Accuracy", "Cost", "ModelCard"]
