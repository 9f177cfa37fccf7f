"""The machine's rules, one by one, and all of them at random."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from collage.dispatch import Outcome
from collage.serving.edge import Action, Answer, EdgeMachine, Mode, Refuse, SendCanvas, SendFull

SURE, UNSURE, UNKNOWN = Outcome(True, 0.95), Outcome(True, 0.4), Outcome(False, 0.0)


def machine(mode: Mode, **settings: float) -> EdgeMachine:
    return EdgeMachine(mode, **({"capacity": 4, "window": 0.1, "patience": 1.0, "uploads": 1} | settings))  # type: ignore[arg-type]


def test_all_sends_full_images_in_order_so_many_at_a_time() -> None:
    edge = machine(Mode.ALL, uploads=2)
    assert [edge.submit(number, None, True, 0.0) for number in (1, 2, 3)] == [[SendFull(1)], [SendFull(2)], []]
    assert edge.full_ended(1, True, 1.0) == [Answer(1, by_tile=False), SendFull(3)]
    assert edge.next_tick is None


def test_a_collage_goes_when_it_is_full_or_its_oldest_tile_has_waited() -> None:
    edge = machine(Mode.FIRST)
    assert [edge.submit(number, None, True, 0.0) for number in (1, 2, 3)] == [[], [], []]
    assert edge.submit(4, None, True, 0.05) == [SendCanvas(1, (1, 2, 3, 4))]
    assert edge.submit(5, None, True, 0.06) == []
    assert edge.next_tick is None  # one collage at a time
    assert edge.canvas_ended(1, [SURE] * 4, 0.3) == [
        *(Answer(n, by_tile=True) for n in (1, 2, 3, 4)),
        SendCanvas(2, (5,)),
    ]


def test_a_lone_tile_waits_for_the_window_only() -> None:
    edge = machine(Mode.FIRST)
    edge.submit(1, None, True, 2.0)
    assert edge.next_tick == pytest.approx(2.1)
    assert edge.tick(2.1) == [SendCanvas(1, (1,))]


def test_collage_first_sends_full_images_only_of_the_unsure_and_the_unknown() -> None:
    edge = machine(Mode.FIRST, threshold=0.9, uploads=4)
    for number in (1, 2, 3, 4):
        edge.submit(number, None, True, 0.0)
    said = edge.canvas_ended(1, [SURE, UNSURE, UNKNOWN, SURE], 0.2)
    assert said == [Answer(1, by_tile=True), Answer(4, by_tile=True), SendFull(2), SendFull(3)]
    assert edge.full_ended(2, True, 0.5) == [Answer(2, by_tile=False)]
    assert edge.full_ended(3, False, 0.5) == [Refuse(3, "uplink")]  # nothing is known of it


def test_an_unsure_tile_answers_where_the_full_image_fails() -> None:
    edge = machine(Mode.FIRST)
    edge.submit(1, None, True, 0.0)
    edge.tick(0.1)
    assert edge.canvas_ended(1, [UNSURE], 0.2) == [SendFull(1)]
    assert edge.full_ended(1, False, 0.9) == [Answer(1, by_tile=True)]


def test_a_lost_collage_sends_all_its_full_images() -> None:
    edge = machine(Mode.FIRST, uploads=4)
    for number in (1, 2, 3, 4):
        edge.submit(number, None, True, 0.0)
    assert edge.canvas_ended(1, None, 0.2) == [SendFull(number) for number in (1, 2, 3, 4)]


def test_beside_prefers_the_full_images_answer_for_as_long_as_patience() -> None:
    edge = machine(Mode.BESIDE)
    assert edge.submit(1, None, True, 0.0) == [SendFull(1)]
    edge.tick(0.1)
    assert edge.canvas_ended(1, [UNSURE], 0.3) == []
    assert edge.next_tick == pytest.approx(1.0)
    assert edge.tick(1.0) == [Answer(1, by_tile=True)]
    assert edge.full_ended(1, True, 1.2) == []  # too late


def test_beside_does_not_send_what_is_answered_by_then() -> None:
    edge = machine(Mode.BESIDE, patience=0.2)
    assert edge.submit(1, None, True, 0.0) == [SendFull(1)]
    assert edge.submit(2, None, True, 0.0) == []  # one at a time
    edge.tick(0.1)
    assert edge.canvas_ended(1, [SURE, SURE], 0.2) == [Answer(1, by_tile=True), Answer(2, by_tile=True)]
    assert edge.full_ended(1, True, 5.0) == []


def test_who_refuses_degraded_answers_is_in_no_collage() -> None:
    edge = machine(Mode.FIRST)
    assert edge.submit(1, 2.0, False, 0.0) == [SendFull(1)]
    assert edge.next_tick == 2.0
    assert edge.tick(2.0) == [Refuse(1, "deadline")]


def test_at_the_deadline_a_tile_answers_however_unsure() -> None:
    edge = machine(Mode.FIRST)
    edge.submit(1, 0.5, True, 0.0)
    edge.tick(0.1)
    assert edge.canvas_ended(1, [UNSURE], 0.2) == [SendFull(1)]
    assert edge.tick(0.5) == [Answer(1, by_tile=True)]


def test_an_id_in_use_is_refused() -> None:
    edge = machine(Mode.ALL)
    edge.submit(1, None, True, 0.0)
    with pytest.raises(ValueError, match="query 1"):
        edge.submit(1, None, True, 0.1)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("seed", range(20))
def test_every_query_has_one_outcome_whatever_happens(mode: Mode, seed: int) -> None:
    draw = random.Random(seed)
    edge = EdgeMachine(mode, capacity=draw.choice([4, 9]), window=0.1, patience=0.5, threshold=0.8, uploads=2)
    now, last, fulls, canvases = 0.0, 0, [], []
    outcomes: Counter[int] = Counter()
    refused_degraded, cancelled = set(), set()

    def take(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendFull(query):
                    fulls.append(query)
                case SendCanvas():
                    assert not refused_degraded & set(action.queries)
                    assert not any(outcomes[query] for query in action.queries)  # nobody needs it any more
                    canvases.append(action)
                case Answer() | Refuse():
                    outcomes[action.query] += 1
        assert len(fulls) <= 2
        assert len(canvases) <= 1

    def go(kind: str) -> None:
        nonlocal last
        if kind == "submit":
            last += 1
            accept = draw.random() < 0.8
            if not accept:
                refused_degraded.add(last)
            take(edge.submit(last, now + draw.uniform(0.2, 3) if draw.random() < 0.7 else None, accept, now))
        elif kind == "full" and fulls:
            take(edge.full_ended(fulls.pop(draw.randrange(len(fulls))), draw.random() < 0.7, now))
        elif kind == "canvas" and canvases:
            canvas = canvases.pop()
            said = [draw.choice([SURE, UNSURE, UNKNOWN]) for _ in canvas.queries] if draw.random() < 0.8 else None
            take(edge.canvas_ended(canvas.canvas, said, now))
        elif kind == "cancel" and last:
            query = draw.randint(1, last)
            if not outcomes[query]:
                cancelled.add(query)
            take(edge.cancelled(query, now))
        elif kind == "tick":
            take(edge.tick(now))

    for _ in range(300):
        now += draw.expovariate(10)
        go(draw.choices(["submit", "full", "canvas", "cancel", "tick"], [6, 4, 3, 1, 2])[0])
    while fulls or canvases or edge.next_tick is not None:
        now = max(now, edge.next_tick or now)
        for kind in ("tick", "full", "canvas"):
            go(kind)
    assert all(outcomes[query] == (query not in cancelled) for query in range(1, last + 1))
