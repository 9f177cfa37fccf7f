"""The first page in a real browser, before a real gateway with real workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

_PATIENCE = 60  # seconds to wait for a condition

pytestmark = pytest.mark.browser


@pytest.fixture
def gateway(start_gateway: Callable[..., Any]) -> Iterator[Any]:
    """A gateway with the demo's button, and three visitors who send pictures until the test ends."""
    gateway, over = start_gateway(demo=True, control_share=0.3), threading.Event()

    def visit() -> None:
        while not over.is_set():
            gateway.classify("white")

    threads = [threading.Thread(target=visit) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield gateway
    over.set()
    for thread in threads:
        thread.join()


def text(browser: webdriver.Chrome, selector: str) -> str:
    """The text of the first such element, as a reader sees it; empty where there is none."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


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
    button = browser.find_element(By.CSS_SELECTOR, '#workers [data-worker="w1"] button')
    assert button.accessible_name == "make worker w1 straggle"
    button.click()
    until(lambda _: "straggling" in text(browser, '#workers [data-worker="w1"]'))
    until(lambda _: count(browser, "collage") > before)

    # The collage is there as a picture, with its answers on the tiles.
    until(lambda _: browser.execute_script("return document.querySelector('#collage-picture').naturalWidth") == 16)
    until(lambda _: "white" in text(browser, "#tiles .used"))
    assert browser.get_log("browser") == []


def test_the_page_says_when_the_gateway_is_gone(browser: webdriver.Chrome, start_gateway: Callable[..., Any]) -> None:
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until
    gateway = start_gateway()
    browser.get(gateway.url)
    until(lambda _: text(browser, "#connection") == "ready")
    assert not browser.find_element(By.CSS_SELECTOR, "#workers button").is_displayed()  # no demo, no button
    gateway.stop()
    until(lambda _: text(browser, "#connection") == "no connection")
