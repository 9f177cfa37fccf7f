"""A page that is open for a day: thousands of updates, and it is no bigger than after the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

_PATIENCE = 120  # seconds to wait for a condition

pytestmark = pytest.mark.browser

# Answers in the gateway's place, each different from the last, and lets the page's seconds pass at once.
_A_FAST_DAY = """
const real = window.fetch.bind(window), later = window.setTimeout.bind(window);
window.updates = 0;
window.setTimeout = (call, wait, ...rest) => later(call, 0, ...rest);
const reply = (value) => Promise.resolve({ ok: true, json: () => Promise.resolve(structuredClone(value)) });
const kinds = ["single", "collage", "replica"];
window.fetch = async (path, options) => {
  const n = window.updates;
  if (path.startsWith("/v1/status")) {
    window.updates += 1;
    window.status ??= await (await real(path, options)).json();
    const recent = Array.from({ length: 600 }, (_, i) =>
      ({ age: i / 10, seconds: (i * n) % 97 / 50, source: kinds[i % 3] }));
    const tiles = Array.from({ length: 4 }, (_, i) => ({ state: ["used", "spare", "unknown", "blank"][(i + n) % 4],
      label: (i + n) % 4 < 2 ? `class ${n}` : null, confidence: 0.5 }));
    const workers = Array.from({ length: 3 + (n % 3) }, (_, i) => ({ ...window.status.workers[0], id: `w${n % 50}-${i}`,
      last_failure: { ago: n, why: `failure ${n}` } }));
    return reply({ ...window.status, recent, workers, sources: { single: 100 * n, collage: n }, backup_off: n % 7 === 0,
      collage: { version: n, age: 1, grid: 2, tiles } });
  }
  if (path.startsWith("/v1/history")) {
    window.history_ ??= await (await real("/v1/history?since=9e9", options)).json();
    const points = Object.fromEntries(Object.keys(window.history_.points).map((name) => [name, [n % 13 / 10]]));
    return reply({ ...window.history_, interval: 1, points: { ...points, at: [1.8e9 + 5 * n] } });
  }
  if (path.startsWith("/v1/stories")) {
    const story = (i) => ({ query: 20 * n + i, age: 3, outcome: "collage", seconds: 0.5, control: true,
      shares_with: null, jobs: [
      { source: "single", worker: "w0", queries: 1, began: 0.1, ended: 0.9, how: "done", won: false },
      { source: "collage", worker: "w1", queries: 3, began: 0.2, ended: 0.5, how: "done", won: true }] });
    const eight = Array.from({ length: 8 }, (_, i) => story(i));
    return reply({ backed: eight, slowest: eight, last: eight });
  }
  return real(path, options);
};
"""


def _size(browser: webdriver.Chrome) -> dict[str, float]:
    """After a garbage collection: bytes of the script's heap, and how many nodes and listeners there are."""
    browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    kept = ("JSHeapUsedSize", "Nodes", "JSEventListeners")
    return {metric["name"]: metric["value"] for metric in metrics if metric["name"] in kept}


def test_a_day_of_updates_does_not_make_the_page_grow(
    browser: webdriver.Chrome, start_gateway: Callable[..., Any]
) -> None:
    gateway = start_gateway(demo=True)
    until = WebDriverWait(browser, _PATIENCE, poll_frequency=0.2).until
    browser.execute_cdp_cmd("Performance.enable", {})
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _A_FAST_DAY})
    try:
        browser.get(gateway.url)
        until(lambda _: browser.execute_script("return window.updates") >= 300)
        before, early = _size(browser), browser.execute_script("return window.updates")
        until(lambda _: browser.execute_script("return window.updates") >= early + 1700)
        after = _size(browser)
        shown = browser.execute_script("return document.querySelectorAll('*').length")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        browser.get("about:blank")
    assert shown < 1500, shown
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 20
    assert after["Nodes"] <= before["Nodes"] + 1500, (before, after)  # a second's dots may wait to be collected
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + 2e6, (before, after)
