"""Training of singles and backups, distillation, evaluation, export to ONNX. Needs the `train` extra."""

from collage.training._accuracy import AccuracyRow, measure_accuracy
from collage.training._assess import assess
from collage.training._collages import CollageTask, assemble, draw_filled
from collage.training._evaluate import (
    UNKNOWN,
    Answers,
    CollageReport,
    classify_images,
    confusion,
    evaluate_backup,
    evaluate_collage,
)
from collage.training._export import export_model, load_net
from collage.training._loop import Progress, Task, train
from collage.training._parity import ParityTask, encode_groups
from collage.training._rebuild import net_from_model
from collage.training._report import read_outcomes
from collage.training._run import make_net, run_training
from collage.training._settings import TrainingSettings, change_training, load_training
from collage.training._single import SingleTask
from collage.training._teacher import Teacher, ask_single
from collage.training._timing import LatencyRatio, latency_ratio

__all__ = [
    "UNKNOWN",
    "AccuracyRow",
    "Answers",
    "CollageReport",
    "CollageTask",
    "LatencyRatio",
    "ParityTask",
    "Progress",
    "SingleTask",
    "Task",
    "Teacher",
    "TrainingSettings",
    "ask_single",
    "assemble",
    "assess",
    "change_training",
    "classify_images",
    "confusion",
    "draw_filled",
    "encode_groups",
    "evaluate_backup",
    "evaluate_collage",
    "export_model",
    "latency_ratio",
    "load_net",
    "load_training",
    "make_net",
    "measure_accuracy",
    "net_from_model",
    "read_outcomes",
    "run_training",
    "train",
]
