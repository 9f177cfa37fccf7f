"""Whoever uses the first page: axe's rules in every form of it, the keyboard alone, and operators with keys.

axe/axe.min.js is axe-core 4.14.1, by Deque Systems (MPL-2.0; its licences lie beside it), for tests only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from collage.serving.safety import digest

from .conftest import second_model, starting, text, visited

_AXE = (Path(__file__).parent / "axe/axe.min.js").read_text("utf-8")
_PATIENCE = 60  # seconds to wait for a condition

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def gateway(models: Any) -> Iterator[Any]:
    """A gateway with keys, two models, a demonstration, and three visitors who send pictures until the module ends."""
    settings = {"demo": True, "control_share": 0.5, "monitor_keys": [digest(MONITOR)], "admin_keys": [digest(ADMIN)]}
    with starting(models) as start, visited(start(**settings, models=[second_model(models)])) as gateway:
        yield gateway


MONITOR, ADMIN = "the-monitors-own-key-1234567890", "the-admins-own-key-1234567890ab"


@pytest.fixture
def page(browser: webdriver.Chrome, gateway: Any) -> Iterator[webdriver.Chrome]:
    """The page, as a monitor sees it: the browser asks for its key once, and keeps it."""
    browser.get(gateway.url.replace("//", f"//monitor:{MONITOR}@") + "/openapi.json")
    browser.get(gateway.url.replace("//", f"//monitor:{MONITOR}@") + "/static/icon.svg")
    browser.get(gateway.url)
    until(browser, lambda _: text(browser, "#connection") == "ready")
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def until(browser: webdriver.Chrome, condition: Callable[[Any], Any]) -> Any:
    return WebDriverWait(browser, _PATIENCE, poll_frequency=0.1).until(condition)


def fill(browser: webdriver.Chrome, gateway: Any) -> None:
    """Something in every panel: a collage that answered, lines, a story, and a worker that is not well."""
    gateway.ask("POST", "/demo/straggle?worker=w1", headers={"Authorization": f"Bearer {ADMIN}"})
    until(
        browser,
        lambda _: text(browser, "#tiles .used") and text(browser, "#steps .won") and text(browser, "#attention"),
    )
    until(
        browser,
        lambda _: "answered, p50 " in (browser.find_element(By.ID, "latency-chart").get_attribute("aria-label")),
    )


def pause(browser: webdriver.Chrome) -> None:
    """So that nothing comes or goes meanwhile."""
    browser.find_element(By.ID, "pause").send_keys(Keys.ENTER)
    until(browser, lambda _: text(browser, "#connection") == "paused")


def violations(browser: webdriver.Chrome) -> list[str]:
    """What axe finds on the page as it is, by rule and element."""
    browser.execute_script(_AXE)
    found = browser.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
    )
    assert len(found["passes"]) > 15  # it has looked
    return [
        f"{rule['id']}: {node['html']} ({node['failureSummary']})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_nothing(page: webdriver.Chrome, gateway: Any, scheme: str, width: int) -> None:
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    fill(page, gateway)
    pause(page)
    assert violations(page) == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= width  # nothing is wider
    assert page.execute_script("return document.getAnimations().length") == 0
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(17, 21, 29)") is (scheme == "dark")


def test_the_whole_page_is_reached_by_the_tab_key(page: webdriver.Chrome, gateway: Any) -> None:
    fill(page, gateway)
    pause(page)
    reached: list[str] = []
    page.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
    assert page.switch_to.active_element.accessible_name.startswith("Model")  # the first of all
    for _ in range(80):
        page.switch_to.active_element.send_keys(Keys.TAB)
        focused = page.switch_to.active_element
        if reached and (focused.tag_name == "body" or focused.get_attribute("id") == "pause"):
            break
        assert focused.accessible_name, focused.get_attribute("outerHTML")
        style = page.execute_script(
            "const e = arguments[0]; const s = getComputedStyle(e.matches('[type=radio]') ? e.nextElementSibling : e);"
            "return s.outlineStyle",
            focused,
        )
        assert style == "solid", focused.get_attribute("outerHTML")  # it is seen where one is
        reached.append(focused.accessible_name)
    for name in ("go on", "15 min", "drain worker w0", "make worker w2 straggle", "Table of workers"):
        assert name in reached
    assert any(name.startswith("Query") for name in reached)
    assert len([name for name in reached if "Arrow keys read single points" in name]) == 5


def test_a_monitor_drains_a_worker_with_an_admins_key_that_the_page_forgets(
    page: webdriver.Chrome, gateway: Any
) -> None:
    row = '#workers [data-worker="w2"]'
    button = page.find_element(By.CSS_SELECTOR, f"{row} .drain")
    assert button.accessible_name == "drain worker w2"
    button.send_keys(Keys.ENTER)
    until(page, lambda _: text(page, "#key-dialog[open] h2") == "An admin's key is needed")
    assert violations(page) == []
    field = page.find_element(By.ID, "key")
    assert page.switch_to.active_element == field
    field.send_keys("not-the-key-that-is-asked-for-12345", Keys.ENTER)
    until(page, lambda _: text(page, "#key-why") == "this key is not known here")
    field.send_keys(ADMIN, Keys.ENTER)
    until(page, lambda _: text(page, f"{row} .pill") == "drained")
    assert page.switch_to.active_element == button  # where one was, and it now undoes it
    assert button.accessible_name == "resume worker w2"
    assert "1 of 3 workers: drained." in text(page, "#attention")

    # With the key, the picture is there too.
    until(page, lambda _: page.execute_script("return document.querySelector('#collage-picture').width") == 16)
    assert not page.find_element(By.ID, "picture-note").is_displayed()

    button.send_keys(Keys.ENTER)  # and no key is asked for again
    until(page, lambda _: text(page, f"{row} .pill") == "up")
    page.find_element(By.ID, "forget-key").send_keys(Keys.ENTER)
    button.send_keys(Keys.ENTER)
    until(page, lambda _: text(page, "#key-dialog[open] h2"))
    page.find_element(By.ID, "key-cancel").send_keys(Keys.ENTER)
    until(page, lambda _: text(page, "#message").startswith("worker w2: "))
    assert text(page, f"{row} .pill") == "up"
    stored = page.execute_script("return [localStorage.length, sessionStorage.length, document.cookie]")
    assert stored == [0, 0, ""]


def test_what_a_gateway_refuses_is_said(browser: webdriver.Chrome, start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(workers=1)
    browser.get(gateway.url)
    until(browser, lambda _: text(browser, "#connection") == "ready")
    browser.find_element(By.CSS_SELECTOR, "#workers .drain").send_keys(Keys.ENTER)
    until(browser, lambda _: "w0 is the last that runs singles" in text(browser, "#message"))
