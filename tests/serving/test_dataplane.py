"""The data plane with real models in real worker processes: every image gets its own answer."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from collage.dispatch import PRESETS, Role, Source
from collage.engines import CancelEffect, EngineListener, LocalEngine, Submission
from collage.exceptions import ModelError, SettingsError
from collage.serving import Classified, CollageSeen, DataPlane, Encoded, Pixels, ServingSettings, Tensor
from collage.zoo import list_models, load_model

from .planes import FOREVER, Models, Png, classify_many, of_kind, running, settings


@pytest.mark.parametrize("policy", sorted(set(PRESETS) - {"batch", "cheap", "parity", "learned"}))
def test_every_image_gets_its_own_answer(models: Models, png: Png, policy: str) -> None:
    async def main() -> None:
        async with running(models, hold=0.002, policy=policy) as plane:
            sources = await classify_many(plane, png, count=200, at_once=9)
            assert sources[Source.SINGLE] > 0

    asyncio.run(main())


def test_images_that_are_the_same_share_a_job_within_a_key(models: Models, png: Png) -> None:
    async def main() -> None:
        changes = {"share_repeats": True}
        async with running(models, hold=0.2, policy="none", policy_overrides=changes) as plane:
            order = [1, 4, 1, 1, 4]
            answers = await plane.classify([Encoded(png(index)) for index in order], key="a")
            assert [answer.index for answer in answers] == order
            assert plane.dispatcher.stats.started[Source.SINGLE] == 2
            assert plane.dispatcher.stats.shared == 3

            one, other = await asyncio.gather(*(plane.classify([Encoded(png(1))], key=key) for key in "ab"))
            assert one[0].index == other[0].index == 1
            assert plane.dispatcher.stats.started[Source.SINGLE] == 4

    asyncio.run(main())


def test_a_batch_gives_every_image_its_own_answer(models: Models, png: Png, tmp_path: Path) -> None:
    card = json.loads(models["single"].read_text())
    batch = card | {"name": "greys-batch", "role": "batch", "k": 4, "single_sha256": card["sha256"]}
    (tmp_path / "greys-batch.json").write_text(json.dumps(batch))
    (tmp_path / card["file"]).write_bytes(models["single"].with_name(card["file"]).read_bytes())

    async def main() -> None:
        changes = {"trigger": "at_once", "accept": "first", "warmup": 1, "budget": 4}
        backup = str(tmp_path / "greys-batch.json")
        async with running(models, policy="batch", backup=backup, policy_overrides=changes) as plane:
            sources = Counter[Source]()
            while not sources[Source.BATCH]:
                order = [7, 2, 5, 0, 9, 1]
                answers = await plane.classify([Encoded(png(index)) for index in order])
                assert [answer.index for answer in answers] == order
                assert all(answer.degraded is (answer.source is Source.BATCH) for answer in answers)
                sources.update(answer.source for answer in answers)

    asyncio.run(main())


def test_backups_of_two_sizes_and_a_third_model_for_one_query_alone(models: Models, png: Png, tmp_path: Path) -> None:
    backup = [of_kind(models, tmp_path, f"batch{k}", "batch", k) for k in (4, 2)]
    backup.append(of_kind(models, tmp_path, "small", "cheap"))
    changes = {"trigger_quantile": 0.0, "accept": "first", "warmup": 1, "budget": 4, "alone": "cheap"}
    ran: set[tuple[Role, int]] = set()
    seconds = itertools.cycle([0.01, 0.1, 0.1])  # one single teaches when the others are late

    async def main() -> None:
        given = settings(models, policy="batch", backup=backup, policy_overrides=changes, workers=6)
        plane = DataPlane(given, hold=lambda *_: next(seconds))
        await plane.start()
        try:
            submit = plane.engine.submit

            def watched(job: Submission) -> None:
                ran.add((job.role, job.capacity))
                submit(job)

            plane.engine.submit = watched  # type: ignore[method-assign]
            for _ in range(20):
                for order in ([3], [7, 2], [5, 0, 9]):
                    answers = await plane.classify([Encoded(png(index)) for index in order])
                    assert [answer.index for answer in answers] == order
            assert {(Role.BATCH, 2), (Role.BATCH, 4), (Role.CHEAP, 1)} <= ran
        finally:
            await plane.stop()

    asyncio.run(main())


def test_auto_does_with_the_models_that_are_there(models: Models, tmp_path: Path) -> None:
    everywhere = {Role.SINGLE, Role.COLLAGE}
    plane = DataPlane(settings(models, policy="auto"))
    assert {model.card.role for model in plane.backups} == {Role.COLLAGE}
    assert set(plane._parts.roles().values()) == {frozenset(everywhere)}
    small = of_kind(models, tmp_path, "small", "cheap")
    plane = DataPlane(settings(models, policy="auto", backup=[str(models["collage"]), small]))
    assert set(plane._parts.roles().values()) == {frozenset(everywhere | {Role.CHEAP})}
    assert DataPlane(settings(models, policy="auto", backup="none")).backups == []
    with pytest.raises(SettingsError, match=r"small\.json is a second cheap of 1; one of each size is needed"):
        DataPlane(settings(models, policy="auto", backup=[small, small]))
    with pytest.raises(SettingsError, match="backup: policy 'collage' needs a cheap model"):
        DataPlane(settings(models, policy="collage", policy_overrides={"alone": "cheap"}))


def test_a_request_of_many_images(models: Models, png: Png) -> None:
    async def main() -> None:
        told: list[Classified] = []
        async with running(models) as plane:
            plane.on_answered.append(told.append)
            order = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4]
            answers = await plane.classify([Encoded(png(index)) for index in order])
            assert [answer.index for answer in answers] == order
            assert [answer.label for answer in answers] == [f"g{index}" for index in order]
            assert told == answers
            for answer in answers:
                assert answer.scores.shape == (10,)
                assert answer.degraded is (answer.source is Source.COLLAGE)
                assert 0 < answer.confidence <= 1
                assert answer.seconds > 0

    asyncio.run(main())


def test_files_pixels_and_tensors_are_the_same_image(models: Models, png: Png) -> None:
    async def main() -> None:
        async with running(models) as plane:
            for index in range(10):
                grey = round(index / 9 * 255)
                answers = await plane.classify(
                    [
                        Encoded(png(index)),
                        Pixels(np.full((30, 20, 3), grey, np.uint8)),
                        Tensor(np.full((1, 8, 8), grey / 255, np.float32)),
                    ]
                )
                assert [answer.index for answer in answers] == [index] * 3

    asyncio.run(main())


def test_watchers_see_collages_with_their_answers(models: Models, png: Png) -> None:
    async def main() -> None:
        seen: list[CollageSeen] = []

        def broken(_collage: CollageSeen) -> None:
            raise RuntimeError("a watcher's own trouble")

        async with running(models, hold=0.005, policy="collage", workers=4) as plane:
            plane.on_collage += [broken, seen.append]
            while not any(tile is not None and tile.used for collage in seen for tile in collage.tiles):
                await classify_many(plane, png, count=60, at_once=9)
                assert isinstance(plane.engine, LocalEngine)
                plane.engine.straggle("w0", seconds_per_job=0.5, for_seconds=FOREVER)
        for collage in seen:
            assert collage.canvas.shape == (1, 24, 24)
            assert len(collage.tiles) == 9
            for position, tile in enumerate(collage.tiles):
                row, column = divmod(position, 3)
                level = collage.canvas[0, row * 8, column * 8]
                if tile is None:
                    assert level == 0.0
                else:
                    assert tile.label == f"g{round(level * 9)}"

    asyncio.run(main())


class Turn:
    """What lets planes follow one another on running workers."""

    cancel_effect = CancelEffect.NOTHING

    def __init__(self, local: LocalEngine) -> None:
        self._local = local
        self.submit, self.cancel, self.workers = local.submit, local.cancel, local.workers

    async def start(self, listener: EngineListener) -> None:
        self._local.attach(listener)

    async def stop(self) -> None: ...


class Nobody:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_planes_of_different_policies_follow_one_another_on_the_same_workers(models: Models, png: Png) -> None:
    async def main() -> None:
        paths = {Role.SINGLE: models["single"], Role.COLLAGE: models["collage"]}
        local = LocalEngine({role: path.with_suffix(".onnx") for role, path in paths.items()}, 3, hold=lambda *_: 0.003)
        await local.start(Nobody())  # type: ignore[arg-type]
        before = dict(local.workers)
        try:
            for policy in ("none", "collage", "replicate", "collage"):
                plane = DataPlane(settings(models, policy=policy), engine=Turn(local))
                await plane.start()
                await classify_many(plane, png, count=60, at_once=6)
                await plane.stop()
            assert local.workers == before
        finally:
            await local.stop()

    asyncio.run(main())


@pytest.mark.parametrize("policy", sorted(PRESETS))
def test_every_preset_finds_its_shipped_backup_or_says_that_there_is_none(policy: str) -> None:
    code = PRESETS[policy].code
    single = load_model(ServingSettings().single)
    shipped = {model.card.role for model in list_models() if model.card.single_sha256 == single.card.sha256}
    if code is not None and code is not Source.REPLICA and code.role not in shipped:
        with pytest.raises(SettingsError, match=f"backup: no shipped {code.role} model was made for"):
            DataPlane(ServingSettings(policy=policy))
        return
    plane = DataPlane(ServingSettings(policy=policy))
    assert (plane.backup.card.role if plane.backup else Role.SINGLE) is (code.role if code else Role.SINGLE)


def test_by_default_whatever_backup_models_there_are_will_do(models: Models) -> None:
    assert ServingSettings().policy == "auto"
    roles = {model.card.role for model in DataPlane(ServingSettings()).backups}
    assert roles == {Role.COLLAGE, Role.CHEAP}
    for backup in ("auto", "none"):  # none was shipped for this single: its late queries are sent to it again
        plane = DataPlane(settings(models, backup=backup, policy="auto"))
        assert (plane.backups, plane.policy.codes[-1]) == ([], Source.REPLICA)


def test_models_that_do_not_fit_are_refused_at_once(models: Models, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a collage; a single is needed"):
        DataPlane(settings(models, single=str(models["collage"])))
    with pytest.raises(SettingsError, match="backup: policy 'collage' needs a collage model"):
        DataPlane(settings(models, backup="none", policy="collage"))
    with pytest.raises(SettingsError, match=r"backup: .* is a collage; policy 'cheap' needs a cheap"):
        DataPlane(settings(models, policy="cheap"))
    with pytest.raises(SettingsError, match="backup: no shipped collage model was made for greys"):
        DataPlane(settings(models, backup="auto", policy="collage"))
    # The same collage-cnn, bound to another single.
    card = json.loads(models["collage"].read_text()) | {"single_sha256": hashlib.sha256(b"other").hexdigest()}
    (tmp_path / "other.json").write_text(json.dumps(card))
    (tmp_path / card["file"]).write_bytes(models["collage"].with_name(card["file"]).read_bytes())
    with pytest.raises(ModelError, match="was made for another single"):
        DataPlane(settings(models, backup=str(tmp_path / "other.json")))
    # A policy without a backup model asks for none.
    assert DataPlane(settings(models, backup="none", policy="none")).backup is None
