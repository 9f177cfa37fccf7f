"""What the models say of each photograph, and what each costs: for the simulation, and to judge answers."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from collage.bench.fleet._edge_plan import EdgePlan, take_photo
from collage.codes import make_code
from collage.data import open_dataset
from collage.dispatch import Outcome
from collage.imaging import decode_image, normalise, to_tensor, useful_side
from collage.serving.edge import canvas_of, jpeg_of, tile_of
from collage.zoo import load_model, open_session

_QUALITY = 90  # of canvases and resized images: the relay's


@dataclass(frozen=True)
class Shown:
    """One photograph. right: whether the single would say its class; tile: what the collage-cnn says, and if right."""

    file: bytes
    resized: bytes
    label: str
    right: bool
    right_resized: bool
    tile: Outcome
    tile_right: bool


@dataclass(frozen=True)
class Shows:
    """All photographs of a study, in the cameras' order. Seconds are a call's CPU time, one thread, on this machine."""

    photos: tuple[Shown, ...]
    threshold: float  # of the backup's card
    grid: int
    canvas_bytes: float  # mean, of a full one
    single_seconds: float
    collage_seconds: float


def show(plan: EdgePlan, count: int) -> Shows:
    """Photographs of test images, drawn at random. Raises DataMissing and ModelError."""
    single, backup = load_model(plan.single), load_model(plan.backup)
    rng = np.random.default_rng(plan.seed)
    dataset = open_dataset(plan.dataset)
    files = list(dataset.files("test"))
    chosen = [files[int(index)] for index in rng.permutation(len(files))[np.arange(count) % len(files)]]
    ours, theirs = open_session(single.path), open_session(backup.path)
    code, grid = make_code(backup.card), backup.card.grid or 1
    assert backup.card.calibration is not None
    names = ours.get_inputs()[0].name, theirs.get_inputs()[0].name
    side = useful_side(single.card.preprocessing, backup.card.preprocessing)  # as gateway and relay decode
    spent = {"single": 0.0, "collage": 0.0}
    canvas_bytes: list[int] = []
    found: list[Shown] = []

    def ask_single(file: bytes) -> str:
        tensor = to_tensor(decode_image(file, shorter=side), single.card.preprocessing)[None]
        began = time.thread_time()
        scores = ours.run(None, {names[0]: tensor})[0]
        spent["single"] += time.thread_time() - began
        return single.card.classes[int(np.argmax(scores))]

    group = code.capacity
    for first in range(0, count, group):
        part = chosen[first : first + group]
        photos = [take_photo(Image.open(io.BytesIO(file.data)).convert("RGB"), plan.photo, rng) for file in part]
        pictures = [decode_image(photo, shorter=side) for photo in photos]
        tiles = [tile_of(picture, backup.card.preprocessing) for picture in pictures]
        canvas = jpeg_of(canvas_of(tiles, grid, backup.card.preprocessing), _QUALITY)
        canvas_bytes.append(len(canvas))
        pixels = np.asarray(decode_image(canvas).convert("RGB"), np.uint8)
        began = time.thread_time()
        output = theirs.run(None, {names[1]: normalise(pixels, backup.card.preprocessing)[None]})[0]
        spent["collage"] += time.thread_time() - began
        answers = code.decode(output, range(len(part)), {})
        for position, (file, photo, picture) in enumerate(zip(part, photos, pictures, strict=True)):
            small = jpeg_of(_small(picture, single.card.preprocessing.size), _QUALITY)
            said, label = answers.get(position), dataset.classes[file.label]
            found.append(
                Shown(
                    file=photo,
                    resized=small,
                    label=label,
                    right=ask_single(photo) == label,
                    right_resized=ask_single(small) == label,
                    tile=Outcome(said is not None, said.confidence if said is not None else 0.0),
                    tile_right=said is not None and backup.card.classes[int(said.scores.argmax())] == label,
                )
            )
    return Shows(
        photos=tuple(found),
        threshold=backup.card.calibration.confident if backup.card.calibration.confident is not None else 1.0,
        grid=grid,
        canvas_bytes=float(np.mean(canvas_bytes[: max(1, len(canvas_bytes) - 1)])),
        single_seconds=spent["single"] / (2 * count),
        collage_seconds=spent["collage"] / len(canvas_bytes),
    )


def _small(picture: Image.Image, size: int) -> np.ndarray:
    """As the relay resizes: all of it, its shorter side as long as the single's input."""
    scale = size / min(picture.size)
    sides = max(size, round(picture.width * scale)), max(size, round(picture.height * scale))
    return np.asarray(picture.resize(sides, Image.Resampling.BILINEAR).convert("RGB"), np.uint8)
