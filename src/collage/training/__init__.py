"""Training of singles and backups, distillation, evaluation, export to ONNX. Needs the `train` extra."""

from collage.training._collages import CollageTask, assemble, draw_filled
from collage.training._loop import Progress, Task, train
from collage.training._run import make_net, run_training
from collage.training._settings import TrainingSettings, load_training
from collage.training._single import SingleTask
from collage.training._teacher import Teacher, ask_single

__all__ = [
    "CollageTask",
    "Progress",
    "SingleTask",
    "Task",
    "Teacher",
    "TrainingSettings",
    "ask_single",
    "assemble",
    "draw_filled",
    "load_training",
    "make_net",
    "run_training",
    "train",
]
