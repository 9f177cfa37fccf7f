"""How fast a net learns, and when it stops: by epochs, or within a time and as long as it gains."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

from collage.training._pace import ByTime, Pace, make_pace
from collage.training._settings import LoopSettings

pytestmark = pytest.mark.train

MINUTE = LoopSettings(epochs=1000, minutes=1.0, give_up=3, warmup=0.1)


def walk(pace: Pace, seconds: float, start: int = 0, steps: int = 1000) -> list[float]:
    """The rates of steps that take `seconds` each, until the training is over."""
    rates = [pace.rate(start)]
    for step in range(start + 1, start + steps):
        pace.spent(seconds)
        if pace.done() >= 1:
            break
        rates.append(pace.rate(step))
    return rates


def test_by_epochs_the_rate_rises_and_falls_to_nothing() -> None:
    pace = make_pace(LoopSettings(epochs=10, warmup=0.2), steps=10)
    rates = [pace.rate(step) for step in range(101)]
    assert rates[0] == 0
    assert rates[20] == pytest.approx(1)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[100] == pytest.approx(0)
    assert pace.done() == 1


@pytest.mark.parametrize("seconds", [0.25, 1.0])
def test_the_rate_follows_the_time_however_long_a_step_takes(seconds: float) -> None:
    rates = walk(make_pace(MINUTE, steps=10), seconds)
    assert len(rates) == 60 / seconds
    assert rates[0] < 0.1
    assert max(rates) == 1
    assert rates[int(0.55 * len(rates))] == 1  # constant until six tenths of the time
    assert rates[int(0.8 * len(rates))] == pytest.approx(0.5, abs=0.05)
    assert rates[-1] < 0.1


def test_few_steps_end_before_the_time() -> None:
    pace = make_pace(LoopSettings(epochs=5, minutes=60.0), steps=10)
    assert len(walk(pace, 0.001)) == pytest.approx(50, abs=1)


def test_what_stops_gaining_ends_early_and_says_so() -> None:
    pace = make_pace(MINUTE, steps=10)
    walk(pace, 1.0, steps=20)
    heard = [pace.evaluated(accuracy) for accuracy in (0.5, 0.6, 0.6004, 0.59, 0.6)]
    assert heard[:4] == [""] * 4
    assert "no gain in 3 evaluations" in heard[4]
    rates = walk(pace, 1.0, start=20)
    assert rates == sorted(rates, reverse=True)
    assert 10 <= len(rates) <= 14  # two thirds of the 19 s so far
    assert pace.evaluated(0.1) == ""  # said once


def test_a_gain_is_worth_waiting_for() -> None:
    pace = make_pace(MINUTE, steps=10)
    assert not any(pace.evaluated(0.5 + turn // 3 / 100) for turn in range(60))


def test_a_resumed_training_goes_on_in_its_time() -> None:
    whole, first = make_pace(MINUTE, steps=10), make_pace(MINUTE, steps=10)
    rates = walk(whole, 1.0)
    begun = walk(first, 1.0, steps=31)
    again = ByTime(MINUTE, 10)
    again.load_state_dict(first.state_dict())
    assert again.done() == first.done() == 0.5
    assert begun[:-1] + walk(again, 1.0, start=30) == pytest.approx(rates)
