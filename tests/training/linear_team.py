"""Trains a net without batch normalisation as one process of a team: `torchrun` starts it.

Fails where a group of the team is left, whose threads could abort the process at its end.

Arguments: folder of images, folder of the training.
"""

from __future__ import annotations

import sys
import weakref
from pathlib import Path

import torch
import torch.distributed as dist

from collage.data import load_pixels, open_dataset
from collage.training import SingleTask, Team, TrainingSettings, join_team, train


def run(images: str, folder: Path, team: Team) -> None:
    """A batch of 9 is no whole number of images for each of two processes."""
    settings = TrainingSettings.model_validate(
        {
            "model": {"name": "linear", "role": "single", "net": {"family": "residual"}},
            "preprocessing": {"size": 16, "channels": 1, "mean": [0.4], "std": [0.3]},
            "data": {"dataset": images, "validation": 24},
            "augment": {"flip": True, "shift": 1, "erase": 4},
            "train": {"epochs": 3, "batch": 9, "ema": 0.9, "bfloat16": False, "learning_rate": 0.02},
        }
    )
    pixels = load_pixels(open_dataset(images), "train", settings.preprocessing)
    torch.manual_seed(team.share.rank)  # the weights of process 0 are everybody's
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3))
    for _ in train(net, SingleTask(pixels, pixels, settings), settings, folder, team=team):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_team() as joined:
        run(sys.argv[1], Path(sys.argv[2]), joined)
        groups = [weakref.ref(group) for group in (dist.group.WORLD, joined._waiting)]
    assert [group() for group in groups] == [None, None]
