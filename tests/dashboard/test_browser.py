"""The first page in a real browser, before a real gateway with real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from selenium.webdriver.support.wait import WebDriverWait

from ..waiting import wait_until
from .conftest import picture, second_model, starting, text, visited

_PATIENCE = 60  # seconds to wait for a condition

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def gateway(models: Any) -> Iterator[Any]:
    """A gateway with the demo's button, and three visitors who send pictures until the module ends."""
    with starting(models) as start, visited(start(demo=True, control_share=0.5)) as gateway:
        yield gateway


def count(browser: webdriver.Chrome, source: str) -> int:
    """Answers of a source, as the page shows them."""
    shown = text(browser, f'#sources [data-source="{source}"] .count')
    return int(shown.split("·")[0].replace(",", "")) if shown else 0


def test_a_visitor_sees_a_straggler_covered_by_the_collage(browser: webdriver.Chrome, gateway: Any) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    browser.get(gateway.url)

    # It shows what is served, and refreshes itself.
    until(lambda _: text(browser, "#connection") == "ready")
    assert "brightness-2x2" in text(browser, "#models")
    until(lambda _: count(browser, "single") > 0)
    seen = count(browser, "single")
    until(lambda _: count(browser, "single") > seen)
    assert text(browser, "#p50").endswith("ms")
    assert [row.get_attribute("data-worker") for row in browser.find_elements(By.CSS_SELECTOR, "#workers tr")] == [
        "w0",
        "w1",
        "w2",
    ]

    # A worker is made to straggle; the collage answers in its place.
    before = count(browser, "collage")
    button = browser.find_element(By.CSS_SELECTOR, '#workers [data-worker="w1"] .straggle')
    assert button.accessible_name == "make worker w1 straggle"
    button.click()
    until(lambda _: "straggling" in text(browser, '#workers [data-worker="w1"]'))
    until(lambda _: count(browser, "collage") > before)

    # The collage is there as a picture, with its answers on the tiles.
    until(lambda _: browser.execute_script("return document.querySelector('#collage-picture').width") == 16)
    until(lambda _: "white" in text(browser, "#tiles .used"))
    assert browser.get_log("browser") == []


def test_the_page_says_when_the_gateway_is_gone(browser: webdriver.Chrome, start_gateway: Callable[..., Any]) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    gateway = start_gateway()
    browser.get(gateway.url)
    until(lambda _: text(browser, "#connection") == "ready")
    assert not browser.find_element(By.CSS_SELECTOR, "#workers .straggle").is_displayed()  # no demo, no button
    gateway.stop()
    until(lambda _: text(browser, "#connection") == "no connection")
    browser.get_log("browser")  # which says so too


def test_a_refusal_is_not_called_a_lost_connection(browser: webdriver.Chrome, gateway: Any) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    browser.get(gateway.url)
    until(lambda _: text(browser, "#connection") == "ready")
    browser.execute_script(
        "window.real = window.fetch;"
        "window.fetch = async () => new Response(JSON.stringify({ error: 'on fire' }), { status: 500 });"
    )
    until(lambda _: text(browser, "#connection") == "refused")
    assert text(browser, "#attention") == "The service refused what this page asked: on fire"
    browser.execute_script("window.fetch = window.real;")
    until(lambda _: text(browser, "#connection") == "ready")
    assert "refused" not in text(browser, "#attention")


def test_the_story_of_a_query_is_told_step_by_step(browser: webdriver.Chrome, gateway: Any) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    browser.get(gateway.url)
    gateway.ask("POST", "/demo/straggle?worker=w2")
    until(lambda _: "was answered by a collage after" in text(browser, "#story-words"))
    steps = browser.find_elements(By.CSS_SELECTOR, "#steps li")
    assert any("single on w" in step.text for step in steps)
    assert "answered" in text(browser, "#steps .won")
    # One that is chosen stays, whatever comes after it; while the list is open, it does not change.
    browser.execute_script("document.getElementById('story').focus()")
    choice = Select(browser.find_element(By.ID, "story"))
    groups = browser.execute_script("return [...document.querySelectorAll('#story optgroup')].map((g) => g.label)")
    assert groups == ["a backup answered", "slowest of the last 5 minutes", "last"]
    chosen = choice.options[-1].get_attribute("value")
    choice.select_by_value(chosen)
    words = text(browser, "#story-words")
    assert words.startswith(f"Query {chosen} was answered")
    browser.execute_script("document.activeElement.blur()")
    until(lambda _: chosen not in [str(story["query"]) for story in gateway.json("/v1/stories")["last"]])
    until(lambda _: text(browser, "#story option").startswith("the newest"))
    assert text(browser, "#story-words") == words
    assert Select(browser.find_element(By.ID, "story")).first_selected_option.get_attribute("value") == chosen


def test_lines_over_time_are_read_with_the_keyboard(browser: webdriver.Chrome, gateway: Any) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    browser.get(gateway.url)
    chart = browser.find_element(By.ID, "latency-chart")
    until(lambda _: "without backups, p50 " in (chart.get_attribute("aria-label") or ""))
    label = chart.get_attribute("aria-label")
    assert label.startswith("Latency, the last 15 minutes. Now: answered, p50 ")
    assert chart.find_elements(By.TAG_NAME, "canvas")
    chart.send_keys(Keys.HOME)
    until(lambda _: text(browser, "#latency-chart + output") != "")  # the first point; it may be too early for a value

    def next_one(_browser: object) -> bool:
        chart.send_keys(Keys.ARROW_RIGHT)
        return "answered, p50" in text(browser, "#latency-chart + output")

    until(next_one)
    chart.send_keys(Keys.ESCAPE)
    until(lambda _: text(browser, "#latency-chart + output") == "")
    # A line can be left out; another range has lines of its own.
    line = browser.find_element(By.CSS_SELECTOR, "#latency-chart-legend button")
    line.send_keys(Keys.ENTER)
    assert line.get_attribute("aria-pressed") == "false"
    browser.find_element(By.CSS_SELECTOR, "input[name=range]:checked").send_keys(Keys.ARROW_RIGHT)
    until(lambda _: (chart.get_attribute("aria-label") or "").startswith("Latency, the last 3 hours."))
    assert browser.get_log("browser") == []


def test_a_paused_page_asks_nothing(browser: webdriver.Chrome, gateway: Any) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    browser.get(gateway.url)
    until(lambda _: count(browser, "single") > 0)
    pause = browser.find_element(By.ID, "pause")
    pause.send_keys(Keys.ENTER)
    until(lambda _: text(browser, "#connection") == "paused")

    def stands(_browser: object) -> bool:
        before, shown = gateway.status()["sources"]["single"], count(browser, "single")
        wait_until(lambda: gateway.status()["sources"]["single"] >= before + 20, "20 more answers")
        return count(browser, "single") == shown  # what was under way when it was paused may still come

    until(stands)
    pause.send_keys(Keys.ENTER)
    shown = count(browser, "single")
    until(lambda _: count(browser, "single") > shown)
    assert text(browser, "#connection") == "ready"


def test_another_model_has_a_page_of_its_own(
    browser: webdriver.Chrome, start_gateway: Callable[..., Any], models: Any
) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    gateway = start_gateway(models=[second_model(models)])
    assert gateway.ask("POST", "/v1/classify?model=second", picture("dark"))[0] == 200
    browser.get(gateway.url)
    until(lambda _: browser.find_element(By.ID, "model").is_displayed())
    assert text(browser, "#model").split() == ["brightness", "second"]
    assert len(browser.find_elements(By.CSS_SELECTOR, "#workers tr")) == 3
    assert text(browser, "#no-story") != ""
    Select(browser.find_element(By.ID, "model")).select_by_value("second")
    until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#workers tr")) == 1)
    until(lambda _: text(browser, "#story-words").startswith("Query 1 was answered by its single"))
    assert "brightness-2x2" not in text(browser, "#models")
    assert count(browser, "single") == 1
    assert gateway.ask("GET", "/v1/status?model=third")[0] == 404


def test_a_model_that_is_unloaded_is_missed_until_it_is_loaded_again(
    browser: webdriver.Chrome, start_gateway: Callable[..., Any], models: Any
) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    gateway = start_gateway(models=[second_model(models)])
    assert gateway.ask("POST", "/v1/classify?model=second", picture("dark"))[0] == 200
    browser.get(gateway.url)
    until(lambda _: browser.find_element(By.ID, "model").is_displayed())
    choice = Select(browser.find_element(By.ID, "model"))
    choice.select_by_value("second")
    until(lambda _: text(browser, "#story-words").startswith("Query 1 was answered"))

    # It is gone, and the connection is not: the page says so, and offers what there is.
    assert gateway.ask("POST", "/v2/repository/models/second/unload", b"{}")[0] == 200
    until(lambda _: text(browser, "#connection") == "not loaded")
    assert text(browser, "#attention").startswith("The model second is not loaded.")
    assert [option.text for option in choice.options] == ["brightness", "second (not loaded)"]
    assert choice.first_selected_option.get_attribute("value") == "second"
    assert browser.find_element(By.ID, "model").is_displayed()

    # Loaded again, it is shown again: what is kept of it has begun anew.
    assert gateway.ask("POST", "/v2/repository/models/second/load", b"{}")[0] == 200
    until(lambda _: text(browser, "#connection") == "ready")
    assert text(browser, "#attention") == ""
    assert [option.text for option in choice.options] == ["brightness", "second"]
    assert choice.first_selected_option.text == "second"
    until(lambda _: text(browser, "#no-story") != "")

    # While it is missed, another can be chosen.
    assert gateway.ask("POST", "/v2/repository/models/second/unload", b"{}")[0] == 200
    until(lambda _: text(browser, "#connection") == "not loaded")
    choice.select_by_value("brightness")
    until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#workers tr")) == 3)
    until(lambda _: text(browser, "#connection") == "ready")
    assert not browser.find_element(By.ID, "model").is_displayed()  # there is no other
    browser.get_log("browser")  # which says that a model was asked for that is not there
