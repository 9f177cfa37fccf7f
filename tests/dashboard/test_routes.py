"""What the first page is made of, over HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from collage.serving import ServingSettings
from collage.serving import _dashboard as dashboard

from ..waiting import wait_until
from .conftest import picture, second_model

STATIC = Path(dashboard.__file__).parent / "static"


def test_the_page_and_its_files(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway()
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
    files = {f"/static/{path.name}": kinds[path.suffix] for path in STATIC.iterdir() if path.suffix != ".html"}
    assert "/static/uplot.LICENSE.txt" in files
    for path, kind in {"/": "text/html", **files}.items():
        status, content, headers = gateway.ask("GET", path)
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
        assert content
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
    for path in ("/static/index.html", "/static/..%2f_server.py", "/static/nothing"):
        assert gateway.ask("GET", path)[0] == 404


def test_the_page_loads_nothing_from_elsewhere(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway()
    for path in ("/", *(f"/static/{path.name}" for path in STATIC.iterdir() if path.suffix in (".css", ".js"))):
        text = gateway.ask("GET", path)[1].decode()
        text = text.removeprefix("/*! https://github.com/leeoniya/uPlot")  # in whose code there is no other address
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")  # a namespace, not an address


def test_status_before_and_after_answers(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(hold=0.0, policy="none", backup="none")
    status = gateway.status()
    assert (status["ready"], status["demo"], status["collage"], status["backup"]) == (True, False, None, None)
    assert status["latency"] == {"count": 0, "p50": None, "p99": None, "p999": None}
    assert [worker["id"] for worker in status["workers"]] == ["w0", "w1", "w2"]
    assert {worker["state"] for worker in status["workers"]} == {"up"}
    assert gateway.ask("GET", "/v1/collage.png")[0] == 404
    for label in ("black", "dark", "white"):
        assert gateway.classify(label)["label"] == label
    wait_until(lambda: gateway.status()["latency"]["count"] == 3, "all three are shown")
    status = gateway.status()
    assert status["sources"]["single"] == 3
    assert len(status["recent"]) == 3


def test_the_last_collage_is_the_picture_that_was_classified(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(hold=0.1, demo=True)
    gateway.ask("POST", "/demo/straggle?worker=w0")
    labels = ["black", "dark", "light", "white"]
    with ThreadPoolExecutor(4) as pool:
        while not (collage := gateway.status()["collage"]):
            assert [answer["label"] for answer in pool.map(gateway.classify, labels)] == labels
    # Nothing is sent any more, so the picture and the answers belong together once the status is fresh.
    while (fresh := gateway.status()["collage"]) != collage and fresh["version"] != collage["version"]:
        collage = fresh
    _, content, headers = gateway.ask("GET", "/v1/collage.png")
    assert headers["content-type"] == "image/png"
    for version in (collage["version"], "", "x", "9" * 30):
        assert gateway.ask("GET", f"/v1/collage.png?version={version}")[1] == content
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert pixels.shape == (16, 16)
    brightness = {"black": 13, "dark": 77, "light": 179, "white": 242}
    filled = [tile for tile in collage["tiles"] if tile["state"] != "blank"]
    assert filled
    for position, tile in enumerate(collage["tiles"]):
        row, column = divmod(position, 2)
        value = int(pixels[row * 8 + 4, column * 8 + 4])
        if tile["state"] == "blank":
            assert tile["label"] is None
            assert value in (127, 128)
        else:
            assert abs(value - brightness[tile["label"]]) <= 1
            assert tile["confidence"] > 0.9


@pytest.mark.parametrize(("settings", "shown"), [({}, True), ({"show_collages": False}, False)])
def test_collages_are_shown_to_nobody_who_must_not_see_them(
    start_gateway: Callable[..., Any], settings: dict[str, bool], shown: bool
) -> None:
    gateway = start_gateway(hold=0.03, policy_overrides={"trigger": "at_once", "budget": 4.0}, **settings)
    for _ in range(20):
        gateway.classify("dark")
    assert gateway.status()["backups_sent"] > 0
    assert (gateway.status()["collage"] is not None) is shown
    assert gateway.ask("GET", "/v1/collage.png")[0] == (200 if shown else 404)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        ({"host": "0.0.0.0", "open": True}, False),  # other machines, which need no key
        ({"host": "0.0.0.0", "open": True, "demo": True}, True),
        ({"host": "0.0.0.0", "open": True, "show_collages": True}, True),
    ],
)
def test_by_default_collages_are_shown_where_no_other_machine_can_look(changes: dict[str, Any], shown: bool) -> None:
    assert ServingSettings(**changes).collages_shown is shown


def test_the_button_is_for_demonstrations_and_for_this_page_only(start_gateway: Callable[..., Any]) -> None:
    assert start_gateway().ask("POST", "/demo/straggle")[0] == 404
    gateway = start_gateway(demo=True)
    assert gateway.ask("GET", "/demo/straggle")[0] == 405
    assert gateway.ask("POST", "/demo/straggle", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert gateway.ask("POST", "/demo/straggle", headers={"Origin": "http://elsewhere.example"})[0] == 403
    status, content, _ = gateway.ask("POST", "/demo/straggle?worker=%3Cb%3E")
    assert status == 400
    assert b"worker: '<b>' is no local worker that is up" in content
    assert {worker["straggling_for"] for worker in gateway.status()["workers"]} == {0}
    own = {"Sec-Fetch-Site": "same-origin", "Origin": gateway.url}
    status, content, _ = gateway.ask("POST", "/demo/straggle", headers=own)
    assert status == 200
    assert b'"worker":"w0"' in content
    assert [worker["straggling_for"] > 0 for worker in gateway.status()["workers"]] == [True, False, False]


def test_history_and_stories_of_a_query_that_a_collage_answered(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(hold=0.05, demo=True, control_share=1.0)
    gateway.ask("POST", "/demo/straggle?worker=w0")
    backed: list[dict[str, Any]] = []
    with ThreadPoolExecutor(4) as pool:
        while not any(story["outcome"] == "collage" for story in backed):
            list(pool.map(gateway.classify, ["black", "dark", "light", "white"]))
            backed = gateway.json("/v1/stories")["backed"]
    story = next(story for story in backed if story["outcome"] == "collage")
    (won,) = [job for job in story["jobs"] if job["won"]]
    single = next(job for job in story["jobs"] if job["source"] == "single")
    assert (won["source"], won["how"], won["ended"]) == ("collage", "done", pytest.approx(story["seconds"], abs=0.02))
    assert single["ended"] > won["ended"]  # a control's loser runs to its end
    assert story["control"]
    assert gateway.json("/v1/stories")["last"]
    wait_until(lambda: gateway.json("/v1/history?range=15m")["points"]["at"], "the first interval is over")
    history = gateway.json("/v1/history?range=15m")
    assert any(history["points"]["answers_single"])
    assert set(history["points"]["workers_up"]) - {None} == {3.0}  # None: a gap, as the process stood still
    assert gateway.json(f"/v1/history?since={history['points']['at'][-1] + 0.001}")["points"]["at"] == []
    for query in ("range=1h", "since=yesterday"):
        assert gateway.ask("GET", f"/v1/history?{query}")[0] == 400


def test_no_two_queries_of_a_gateway_have_one_number(
    start_gateway: Callable[..., Any], models: tuple[Path, Path]
) -> None:
    gateway = start_gateway(hold=0.0, models=[second_model(models)], workers=1)

    def numbers(of_second: int) -> list[int]:
        """Of the queries that both models tell of, once the second tells of so many."""
        for label in ("dark", "white"):
            assert gateway.ask("POST", "/v1/classify?model=second", picture(label))[0] == 200
        gateway.classify("light")
        told = [[story["query"] for story in gateway.json(f"/v1/stories?model={name}")["last"]] for name in names]
        assert len(told[1]) == of_second
        return [*told[0], *told[1]]

    names = gateway.status()["models"]
    first = numbers(2)
    config = json.dumps({"parameters": {"single": str(models[0]), "version": "2"}})
    assert gateway.ask("POST", "/v2/repository/models/second/load", config.encode())[0] == 200
    swapped = numbers(4)
    assert len(set(swapped)) == len(swapped)
    assert set(first) < set(swapped)
    assert gateway.ask("POST", "/v2/repository/models/second/unload", b"{}")[0] == 200
    # The stories of a model go with the last of its versions.
    wait_until(lambda: b"UNLOADING" not in gateway.ask("POST", "/v2/repository/index")[1], "it has been stopped")
    assert gateway.ask("POST", "/v2/repository/models/second/load", b"{}")[0] == 200
    loaded_again = numbers(2)
    assert len(set(loaded_again)) == len(loaded_again)
    assert len(set(swapped) & set(loaded_again)) == 2  # those of the model that stayed


def test_lines_go_on_over_versions_and_end_with_their_model(
    start_gateway: Callable[..., Any], models: tuple[Path, Path]
) -> None:
    gateway = start_gateway(models=[second_model(models)], workers=1)

    def points(at_least: int) -> list[float]:
        def read() -> list[float]:
            at: list[float] = gateway.json("/v1/history?model=second")["points"]["at"]
            return at if len(at) >= at_least else []

        return wait_until(read, f"{at_least} points")

    before = points(1)
    config = json.dumps({"parameters": {"single": str(models[0]), "version": "2"}})
    assert gateway.ask("POST", "/v2/repository/models/second/load", config.encode())[0] == 200
    after = points(len(before) + 2)
    assert after[: len(before)] == before
    assert after == sorted(after)
    assert gateway.ask("POST", "/v2/repository/models/second/unload", b"{}")[0] == 200
    for path in ("status", "history", "stories", "collage.png"):
        assert gateway.ask("GET", f"/v1/{path}?model=second")[0] == 404
    assert gateway.json("/v1/status")["models"] == ["brightness"]
