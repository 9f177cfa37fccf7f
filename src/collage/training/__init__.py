"""Training of singles and backups, distillation, evaluation, export to ONNX. Needs the `train` extra."""

from collage.training._accuracy import AccuracyRow, measure_accuracy
from collage.training._assess import assess
from collage.training._bond import has_own_teacher
from collage.training._bring import SingleFacts, bring_single, read_classes, read_facts
from collage.training._calibrate import calibrate, confidences, load_validation, validation_logits
from collage.training._calibration import (
    BINS,
    THRESHOLDS,
    Reliability,
    Reliance,
    calibration_error,
    confident_from,
    fit_temperature,
    reliability,
    reliances,
)
from collage.training._collages import CollageTask, assemble, draw_filled
from collage.training._device import choose_device
from collage.training._distill import distill
from collage.training._evaluate import (
    UNKNOWN,
    Answers,
    CollageReport,
    classify_images,
    confusion,
    evaluate_collage,
    log_scores,
    score_images,
)
from collage.training._evaluate_joint import CodeTimes, JointReport, code_times, evaluate_backup, evaluate_joint
from collage.training._export import export_model, load_net, write_onnx
from collage.training._graph_cost import count_graph
from collage.training._launch import run_processes
from collage.training._learned import LearnedTask
from collage.training._loop import Progress, Task, train
from collage.training._parity import ParityTask, encode_groups
from collage.training._plan import DistillRequest
from collage.training._quantise import quantise_model, store_half
from collage.training._rebuild import net_from_model
from collage.training._report import read_outcomes
from collage.training._run import make_net, run_training
from collage.training._scores import Caller, deal_tiles, read_columns, read_joint
from collage.training._settings import TrainingSettings, change_training, load_training
from collage.training._share import WHOLE, Share
from collage.training._single import SingleTask
from collage.training._stop import Stop
from collage.training._teacher import Teacher, ask_single
from collage.training._team import Team, in_team, join_team
from collage.training._timing import LatencyRatio, latency_ratio
from collage.training._views import Views

__all__ = [
    "BINS",
    "THRESHOLDS",
    "UNKNOWN",
    "WHOLE",
    "AccuracyRow",
    "Answers",
    "Caller",
    "CodeTimes",
    "CollageReport",
    "CollageTask",
    "DistillRequest",
    "JointReport",
    "LatencyRatio",
    "LearnedTask",
    "ParityTask",
    "Progress",
    "Reliability",
    "Reliance",
    "Share",
    "SingleFacts",
    "SingleTask",
    "Stop",
    "Task",
    "Teacher",
    "Team",
    "TrainingSettings",
    "Views",
    "ask_single",
    "assemble",
    "assess",
    "bring_single",
    "calibrate",
    "calibration_error",
    "change_training",
    "choose_device",
    "classify_images",
    "code_times",
    "confidences",
    "confident_from",
    "confusion",
    "count_graph",
    "deal_tiles",
    "distill",
    "draw_filled",
    "encode_groups",
    "evaluate_backup",
    "evaluate_collage",
    "evaluate_joint",
    "export_model",
    "fit_temperature",
    "has_own_teacher",
    "in_team",
    "join_team",
    "latency_ratio",
    "load_net",
    "load_training",
    "load_validation",
    "log_scores",
    "make_net",
    "measure_accuracy",
    "net_from_model",
    "quantise_model",
    "read_classes",
    "read_columns",
    "read_facts",
    "read_joint",
    "read_outcomes",
    "reliability",
    "reliances",
    "run_processes",
    "run_training",
    "score_images",
    "store_half",
    "train",
    "validation_logits",
    "write_onnx",
]
