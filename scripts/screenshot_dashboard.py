"""Take the pictures of the first page in docs/images/: the demo with a straggler, as a visitor sees it.

python scripts/screenshot_dashboard.py

Light, dark, and on a phone, after four minutes, so that there are lines to see. A tenth of the queries are controls
here instead of a hundredth: the lines without backups would need half an hour otherwise. Needs Chromium and its driver
(Debian: chromium, chromium-driver) and selenium (the dev extra).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

TARGET = Path(__file__).parents[1] / "docs/images"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1140,1000")
PICTURES = {"dashboard": (1140, "light"), "dashboard-dark": (1140, "dark"), "dashboard-phone": (375, "light")}
POINTS = 50  # of the finest line, 5 s each
PATIENCE = 600.0  # seconds

# A collage of at least four images, one of whose answers was used, a worker that straggles, and lines.
WORTH_A_PICTURE = """
const tiles = [...document.querySelectorAll("#tiles li")];
return tiles.some((tile) => tile.className === "used")
  && tiles.filter((tile) => tile.className !== "blank").length >= 4
  && document.querySelector("#workers").innerText.includes("straggling")
  && document.querySelectorAll("#scatter .dot").length > 200
  && document.querySelector("#collage-picture").width > 1
  && document.querySelectorAll("#latency-chart-legend .value")[4].textContent !== "–";
"""
STRAGGLE = """document.querySelector('#workers [data-worker="w0"] .straggle:enabled')?.click();"""
KEPT = "fetch('/v1/history').then((a) => a.json()).then((h) => arguments[0](h.points.at.length))"


def main() -> None:
    """Write PICTURES into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    parser.add_argument("--out", type=Path, default=TARGET, help="a folder")
    arguments = parser.parse_args()
    with subprocess.Popen(
        [sys.executable, "-c", "from collage.cli import main; main()", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1", "COLLAGE_SERVE_CONTROL_SHARE": "0.1"},
    ) as demo:
        try:
            assert demo.stdout is not None
            words = (word for line in demo.stdout for word in line.split())
            url = next(word for word in words if word.startswith("http://"))
            take(url, arguments.chromium, arguments.driver, arguments.out)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate()


def take(url: str, chromium: str, driver: str, out: Path) -> None:
    """Wait until there is something to see, and take the whole page in each of its forms."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            browser.get(url)

            def ready(_browser: object) -> bool:
                browser.execute_script(STRAGGLE)
                return bool(browser.execute_script(WORTH_A_PICTURE)) and browser.execute_async_script(KEPT) >= POINTS

            for name, (width, scheme) in PICTURES.items():
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                _resize(browser, width, 1000)
                WebDriverWait(browser, PATIENCE, poll_frequency=0.2).until(ready)
                _resize(browser, width, browser.execute_script("return document.documentElement.scrollHeight"))
                browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
                browser.save_screenshot(str(out / f"{name}.png"))
        finally:
            browser.quit()


def _resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


if __name__ == "__main__":
    main()
