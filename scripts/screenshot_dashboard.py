"""Take the picture of the first page in docs/images/: the demo with a straggler, as a visitor sees it.

python scripts/screenshot_dashboard.py

Needs Chromium and its driver (Debian: chromium, chromium-driver) and selenium (the dev extra).
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

TARGET = Path(__file__).parents[1] / "docs/images/dashboard.png"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1140,1000")
PATIENCE = 180.0  # seconds

# A collage of at least four images, one of whose answers was used, a worker that straggles, and a minute of answers.
WORTH_A_PICTURE = """
const tiles = [...document.querySelectorAll("#tiles li")];
return tiles.some((tile) => tile.className === "used")
  && tiles.filter((tile) => tile.className !== "blank").length >= 4
  && document.querySelector("#workers").innerText.includes("straggling")
  && document.querySelectorAll("#scatter .dot").length > 200
  && document.querySelector("#collage-picture").complete;
"""
STRAGGLE = """document.querySelector('#workers [data-worker="w0"] button:enabled')?.click();"""


def main() -> None:
    """Write TARGET."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with subprocess.Popen(
        [sys.executable, "-c", "from collage.cli import main; main()", "demo", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
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
    """Wait until there is something to see, and take the whole page."""
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
                return bool(browser.execute_script(WORTH_A_PICTURE))

            WebDriverWait(browser, PATIENCE, poll_frequency=0.2).until(ready)
            # The window is higher than what it shows, by its bars.
            page = "return document.documentElement.scrollHeight + window.outerHeight - window.innerHeight"
            browser.set_window_size(1140, browser.execute_script(page))
            out.parent.mkdir(parents=True, exist_ok=True)
            browser.save_screenshot(str(out))
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
