"""What a gateway says, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One class of an image. score: as the model gives it, a logit or a probability (`Model.scores` says which)."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One image's answer.

    confidence: calibrated probability of the label, 0..1. source: the job that answered: "single", "replica", or a
    backup such as "collage", whose answers are degraded: another model gave them. top: the best classes, best first.
    milliseconds: at the gateway, from submission to answer. seconds: of the whole request that brought it, here.
    """

    label: str
    index: int
    confidence: float
    source: str
    degraded: bool
    top: tuple[Candidate, ...]
    milliseconds: float
    seconds: float
    model: str
    version: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the gateway serves. input_shape: (C, H, W) of its tensor; scores: "logits" or "probabilities"."""

    name: str
    versions: tuple[str, ...]
    classes: tuple[str, ...]
    scores: str
    input_shape: tuple[int, int, int]
    input_name: str
    output_name: str
