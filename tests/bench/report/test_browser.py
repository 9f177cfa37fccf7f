"""The report in a real browser, on a phone and in the dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from collage.bench.report import build_report

pytestmark = pytest.mark.browser


def _look(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())


_PAGE = {"dark": "rgb(20, 24, 29)", "light": "rgb(255, 255, 255)"}  # its colour


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_it_is_read_on_a_phone_and_in_the_dark(
    browser: webdriver.Chrome, results: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    page = build_report(results, tmp_path / "report")[0]
    _look(browser, page, width, scheme)

    def style(selector: str, name: str) -> str:
        found = browser.find_element(By.CSS_SELECTOR, selector)
        return str(browser.execute_script("return getComputedStyle(arguments[0])[arguments[1]]", found, name))

    assert style("body", "backgroundColor") == _PAGE[scheme]
    # Figures take the page's colours, so that they are read in the dark too.
    assert style("#lines svg text", "fill") == style("body", "color")
    assert style("#lines svg path", "fill") in {_PAGE[scheme], "none"}
    # Wide figures and tables scroll by themselves; the page does not.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    fold = browser.find_element(By.CSS_SELECTOR, "#lines details")
    assert not fold.find_element(By.TAG_NAME, "table").is_displayed()
    fold.find_element(By.TAG_NAME, "summary").click()
    assert fold.find_element(By.TAG_NAME, "table").is_displayed()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for image in browser.find_elements(By.CSS_SELECTOR, "figure svg, figure img"):
        assert image.size["height"] > 100
    assert browser.get_log("browser") == []
