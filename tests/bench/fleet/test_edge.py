"""The study of the edge: its link model by hand, its rows, and a short run over a real thin link."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collage.bench.fleet import EdgePlan, load_edge_plan, why_no_link, write_edge
from collage.bench.fleet._edge_link import slow_link
from collage.bench.fleet._edge_measure import measure
from collage.bench.fleet._edge_models import Shown, Shows
from collage.bench.fleet._edge_outcome import edge_row
from collage.bench.fleet._edge_plan import Photo, Way, take_photo
from collage.bench.fleet._edge_sim import on_link, simulate
from collage.dispatch import Outcome
from collage.serving.edge import Mode
from collage.zoo import sample_images

WHY = why_no_link()


def plan(*ways: Way, **values: object) -> EdgePlan:
    given: dict[str, object] = {"links": (1.0,), "deadline": 10.0, "ways": ways or (Way(mode=Mode.ALL),)}
    return EdgePlan.model_validate(given | values)


def shows(count: int, *, sure: float = 1.0, size: int = 50_000) -> Shows:
    """Photographs of one size; of so many the collage-cnn is sure, evenly spread. It errs where it is not."""
    every = [int((number + 1) * sure) > int(number * sure) for number in range(count)]
    photos = tuple(
        Shown(b"x" * size, b"y" * 1000, "a", True, True, Outcome(True, 0.95 if known else 0.3), known)
        for known in every
    )
    return Shows(photos, 0.9, 3, 5000.0, 0.01, 0.01)


def test_one_image_takes_its_bytes_at_the_links_rate_and_the_servers_time() -> None:
    run = simulate(plan(), Way(mode=Mode.ALL), 1.0, shows(1), [0.0])
    seconds = on_link(50_000) * 8 / 1e6
    assert run.asked[0].seconds == pytest.approx(seconds + 0.01)
    assert run.up == on_link(50_000)
    assert run.sending_seconds == pytest.approx(seconds)


def test_transfers_share_the_link() -> None:
    run = simulate(plan(), Way(mode=Mode.ALL, uploads=2), 1.0, shows(2), [0.0, 0.0])
    assert [each.seconds for each in run.asked] == pytest.approx([2 * on_link(50_000) * 8 / 1e6 + 0.01] * 2)


def test_the_collage_first_sends_full_images_of_the_unsure_alone() -> None:
    arrivals = [0.001 * number for number in range(90)]
    run = simulate(plan(deadline=60), Way(mode=Mode.FIRST), 1.0, shows(90, sure=2 / 3), arrivals)
    assert (run.fulls, run.canvases) == (30, 10)
    assert [each.source for each in run.asked].count("single") == 30
    assert all(each.right for each in run.asked)  # where it errs, the single is asked


def test_where_everything_is_sent_an_overloaded_link_leaves_queries_without_answer_and_a_collage_does_not() -> None:
    # 4 images a second, of which the link takes 2.3.
    arrivals = [0.25 * number for number in range(200)]
    everything, beside = (
        simulate(plan(), Way(mode=mode), 1.0, shows(200), arrivals) for mode in (Mode.ALL, Mode.BESIDE)
    )
    assert sum(each.source is None for each in everything.asked) > 60
    assert all(each.source is not None for each in beside.asked)


def test_the_same_arrivals_give_the_same_run() -> None:
    arrivals = plan().arrivals(50).tolist()
    way = Way(mode=Mode.BESIDE)
    assert simulate(plan(), way, 1.0, shows(50), arrivals) == simulate(plan(), way, 1.0, shows(50), arrivals)


def test_a_row_says_bytes_answers_and_energy(tmp_path: Path) -> None:
    own, way = plan(), Way(mode=Mode.ALL)
    run = simulate(own, way, 1.0, shows(4), [0.0, 9.0, 18.0, 27.0])
    row = edge_row(own, way, shows(4), run, megabits=1.0, how="simulated, many")
    assert (row["images"], row["by_single"], row["without_answer"], row["a_o"]) == (4, 1.0, 0.0, 1.0)
    assert row["bytes_up"] == round(on_link(50_000))
    megabits = on_link(50_000) * 8e-6
    down = row["bytes_down"] * 8e-6
    assert row["radio_joule"] == pytest.approx(1000 * (megabits * (0.43839 + 1.28804) + down * 0.05197), rel=1e-3)
    assert row["server_joule"] == pytest.approx(1000 * 0.01 * 90)
    paths = write_edge(own, [row], "no link here", tmp_path, "collage fleet edge")
    assert next(csv.DictReader(paths[0].read_text().splitlines()))["way"] == "all"
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert json.loads(paths[2].read_text())["not measured"] == "no link here"


def test_a_photograph_holds_its_image_in_its_middle() -> None:
    image = Image.new("RGB", (32, 32), (200, 30, 30))
    photo = Image.open(io.BytesIO(take_photo(image, Photo(noise=2.0), np.random.default_rng(0))))
    assert photo.size == (640, 480)
    assert np.asarray(photo)[240, 320] == pytest.approx([200, 30, 30], abs=15)


def test_the_shipped_study_can_be_run() -> None:
    found = load_edge_plan(Path("experiments/fleet/edge.toml"))
    assert {way.mode for way in found.ways} == set(Mode)


@pytest.mark.skipif(WHY is not None, reason=f"no thin link on this machine: {WHY}")
def test_over_a_real_thin_link_the_collage_first_needs_a_tenth_of_the_bytes() -> None:
    draw = np.random.default_rng(0)
    samples = sample_images()[:9]
    photos = tuple(
        Shown(
            take_photo(Image.open(sample.path).convert("L"), Photo(), draw), b"", sample.label, True, True,
            Outcome(True, 1.0), True,
        )
        for sample in samples
    )  # fmt: skip
    own = plan(
        Way(mode=Mode.ALL), Way(mode=Mode.FIRST), single="fashion-mnist-single", backup="fashion-mnist-collage-3x3",
        dataset="fashion-mnist", links=(8.0,), deadline=30.0,
    )  # fmt: skip
    (_, _, everything), (_, _, first) = measure(own, Shows(photos, 0.9, 3, 0.0, 0.0, 0.0), [0.0] * 9)
    sizes = sum(len(photo.file) for photo in photos)
    assert [each.source for each in everything.asked] == ["single"] * 9
    assert (everything.fulls, everything.canvases) == (9, 0)
    assert sizes < everything.up < 1.3 * sizes + 50_000
    assert {each.source for each in first.asked} <= {"single", "collage"}
    assert first.canvases == 1
    assert first.fulls == sum(each.source == "single" for each in first.asked)
    assert first.up < everything.up * (first.fulls + 1.5) / 9


@pytest.mark.skipif(WHY is not None, reason=f"no thin link on this machine: {WHY}")
def test_a_link_leaves_nothing_behind() -> None:
    with slow_link(1.0, 1.0) as link:
        there = _namespaces()
        assert {link.edge, link.cloud} <= there
    assert not {link.edge, link.cloud} & _namespaces()


def _namespaces() -> set[str]:
    said = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in said.splitlines()}
