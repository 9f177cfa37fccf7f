"""The plain way in: an image as body, JSON with names as answer."""

from __future__ import annotations

from typing import Any

import pytest


def test_an_image_is_named(gateway: Any, png: Any) -> None:
    for index in range(10):
        status, answer, _ = gateway.ask("POST", "/v1/classify?top=2", png(index))
        assert status == 200
        assert (answer["label"], answer["index"]) == (f"g{index}", index)
        assert answer["source"] in ("single", "replica", "collage")
        assert answer["degraded"] is (answer["source"] == "collage")
        assert len(answer["top"]) == 2
        assert answer["top"][0]["label"] == f"g{index}"
        assert answer["top"][0]["probability"] == pytest.approx(answer["confidence"], abs=1e-4)
        assert answer["milliseconds"] > 0
        assert answer["model"] == "greys"


def test_all_probabilities_sum_to_one(gateway: Any, png: Any) -> None:
    _, answer, _ = gateway.ask("POST", "/v1/classify?top=999", png(4))
    assert len(answer["top"]) == 10
    assert sum(entry["probability"] for entry in answer["top"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["image/png", "application/x-www-form-urlencoded", "text/plain; charset=utf-8", "x"])
def test_any_content_type_will_do(gateway: Any, png: Any, kind: str) -> None:
    status, answer, _ = gateway.ask("POST", "/v1/classify", png(7), {"Content-Type": kind})
    assert (status, answer["label"]) == (200, "g7")


def test_refusing_degraded_answers_gives_singles_only(gateway: Any, png: Any) -> None:
    _, answer, _ = gateway.ask("POST", "/v1/classify?accept_degraded=false&deadline_ms=30000", png(2))
    assert answer["degraded"] is False


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("deadline_ms=-1", "deadline_ms: -1; a number above 0"),
        ("deadline_ms=0", "deadline_ms"),
        ("deadline_ms=nan", "deadline_ms"),
        ("deadline_ms=inf", "deadline_ms"),
        ("deadline_ms=soon", "deadline_ms: 'soon' is no number"),
        ("deadline_ms=60001", "deadline_ms"),
        ("top=0", "top: '0'"),
        ("top=-3", "top: '-3'"),
        ("top=99999999999", "top"),
        ("top=%D9%A3", "top"),
        ("accept_degraded=maybe", "accept_degraded: 'maybe'"),
        ("degraded=no", "degraded: no such parameter; there are accept_degraded"),
    ],
)
def test_a_bad_parameter_is_named(gateway: Any, png: Any, query: str, named: str) -> None:
    status, answer, _ = gateway.ask("POST", f"/v1/classify?{query}", png(1))
    assert status == 400
    assert answer["error"].startswith(named)


def test_a_form_is_refused_with_the_way_to_do_it(gateway: Any, png: Any) -> None:
    status, answer, _ = gateway.ask("POST", "/v1/classify", png(1), {"Content-Type": "multipart/form-data; boundary=x"})
    assert status == 415
    assert "curl --data-binary" in answer["error"]


def test_other_methods_and_paths_are_named(gateway: Any) -> None:
    status, answer, headers = gateway.ask("GET", "/v1/classify")
    assert (status, answer, headers["allow"]) == (405, {"error": "method: GET is not taken here; POST is"}, "POST")
    assert gateway.ask("POST", "/v1/nothing", b"x")[:2] == (404, {"error": "path: nothing is served at '/v1/nothing'"})
