"""The shipped ONNX models with their cards; loading a model by name or path."""

from collage.zoo._card import Accuracy, Calibration, Cost, ModelCard, SecondFile, Split
from collage.zoo._load import LoadedModel, check_bound, file_sha256, list_models, load_model, worker_file
from collage.zoo._samples import Sample, sample_images
from collage.zoo._session import open_session, run_batch

__all__ = [
    "Accuracy",
    "Calibration",
    "Cost",
    "LoadedModel",
    "ModelCard",
    "Sample",
    "SecondFile",
    "Split",
    "check_bound",
    "file_sha256",
    "list_models",
    "load_model",
    "open_session",
    "run_batch",
    "sample_images",
    "worker_file",
]
