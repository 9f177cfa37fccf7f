"""Service times: profiles fit their traces, streams are seeded, episodes come by the clock."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collage.exceptions import SettingsError
from collage.simulation import (
    EpisodeTimes,
    Profile,
    ProfileTimes,
    ServiceTimes,
    TraceTimes,
    list_profiles,
    load_profile,
    load_times,
)

TRACE = Path(os.environ.get("COLLAGE_DATA", "../shared/data")) / "resnet34-service-times.npy"


def two_modes(rng: np.random.Generator, count: int = 20_000, slow: float = 0.02) -> np.ndarray:
    times = rng.lognormal(np.log(0.1), 0.2, count)
    times[rng.random(count) < slow] *= 6
    return times


@pytest.mark.skipif(not TRACE.is_file(), reason=f"{TRACE} is not on this machine")
def test_the_shipped_profile_has_the_traces_numbers() -> None:
    trace = load_times(TRACE)
    drawn = load_profile("resnet34-cpu").draw(np.random.default_rng(0), 2_000_000)

    for quantile, tolerance in ((0.5, 0.01), (0.95, 0.01), (0.99, 0.03), (0.999, 0.02)):
        assert np.quantile(drawn, quantile) == pytest.approx(np.quantile(trace, quantile), rel=tolerance)
    assert drawn.mean() == pytest.approx(trace.mean(), rel=0.01)
    assert drawn.std() == pytest.approx(trace.std(), rel=0.02)


@pytest.mark.skipif(not TRACE.is_file(), reason=f"{TRACE} is not on this machine")
def test_the_shipped_profile_is_what_fitting_the_trace_gives() -> None:
    shipped = load_profile("resnet34-cpu")
    fitted = Profile.fit(load_times(TRACE), shipped.name, source=shipped.source)

    assert fitted == shipped
    assert fitted.longest_slow_run == 2752


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), slow=st.sampled_from([0.0, 0.005, 0.02, 0.2]))
def test_draws_of_a_fitted_profile_are_like_its_trace(seed: int, slow: float) -> None:
    trace = two_modes(np.random.default_rng(seed), slow=slow)
    profile = Profile.fit(trace, "made", slow_above=0.25)
    drawn = profile.draw(np.random.default_rng(1), 200_000)

    assert profile.mean == pytest.approx(trace.mean(), rel=0.01)
    assert drawn.mean() == pytest.approx(trace.mean(), rel=0.03)
    assert np.median(drawn) == pytest.approx(np.median(trace), rel=0.02)
    assert drawn.min() >= trace.min() * 0.999
    assert drawn.max() <= trace.max() * 1.001


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    profile = Profile.fit(two_modes(np.random.default_rng(3)), "mine", source="made up")
    path = tmp_path / "mine.json"
    path.write_text(profile.model_dump_json())

    assert load_profile(str(path)) == profile


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "no service-time profile"), ("not json", "no service-time profile"), (None, "no profile")],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=message):
        load_profile(str(path))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.full(99, 0.1), "at least 100"),
        (np.array([0.1] * 200 + [0.0]), "above 0"),
        (np.array([0.1] * 200 + [np.nan]), "finite"),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused(times: np.ndarray, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Profile.fit(times, "bad")


@pytest.mark.parametrize("text", ["0.1\n0.2\n0.3\n", "job,seconds\n1,0.1\n2,0.2\n3,0.3\n"])
def test_times_are_read_from_the_last_column(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.csv"
    path.write_text(text)

    assert load_times(path).tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("name", ["times.csv", "times.npy", "absent.csv"])
def test_a_file_without_times_is_refused(tmp_path: Path, name: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_text("a\nb\nc\n")

    with pytest.raises(SettingsError, match=name):
        load_times(tmp_path / name)


def profile() -> Profile:
    return load_profile(list_profiles()[0])


def models() -> list[ServiceTimes]:
    trace = two_modes(np.random.default_rng(0))
    return [
        ProfileTimes(profile(), scale=0.5),
        TraceTimes(trace, scale=0.5),
        TraceTimes(trace, in_order=True, scale=0.5),
        EpisodeTimes(profile(), normal_seconds=6.0, slow_seconds=0.3, scale=0.5),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_stream_is_its_seeds_alone_and_its_mean_is_the_models(model: ServiceTimes) -> None:
    def busy(seed: int) -> np.ndarray:
        """A worker that is never idle: the next job starts when the last ends."""
        stream, now, times = model.worker(np.random.default_rng(seed)), 0.0, []
        for _ in range(20_000):
            times.append(stream.draw(now))
            now += times[-1]
        return np.asarray(times)

    first = busy(1)
    assert (first == busy(1)).all()
    assert not (first == busy(2)).all()
    assert first.mean() == pytest.approx(model.mean, rel=0.06)


def test_replaying_keeps_the_order_and_wraps_round() -> None:
    trace = np.arange(1.0, 6.0)
    stream = TraceTimes(trace, in_order=True).worker(np.random.default_rng(0))
    replayed = [stream.draw(0.0) for _ in range(10)]

    start = int(replayed[0]) - 1
    assert replayed == [*trace[start:], *trace[:start]] * 2


def test_episodes_come_at_the_same_times_whatever_the_worker_is_given() -> None:
    model = EpisodeTimes(profile(), normal_seconds=5.0, slow_seconds=2.0)

    def slow_at(step: float) -> dict[float, bool]:
        stream, found = model.worker(np.random.default_rng(7)), {}
        for index in range(int(200 / step)):
            now = index * step
            found[now] = stream.draw(now) > profile().slow_above
        return found

    often, seldom = slow_at(0.25), slow_at(2.0)
    assert {now: often[now] for now in seldom} == seldom
    assert 0.15 < np.mean(list(often.values())) < 0.45  # 2 of 7 of the time


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProfileTimes(profile(), scale=0.0),
        lambda: TraceTimes(np.array([]), scale=1.0),
        lambda: TraceTimes(np.array([0.1, -0.1])),
        lambda: EpisodeTimes(profile(), normal_seconds=0.0, slow_seconds=1.0),
        lambda: EpisodeTimes(Profile.fit(np.full(100, 0.1), "flat"), normal_seconds=1.0, slow_seconds=1.0),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]
