"""A small image folder that any classifier can learn in seconds, and a real browser."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Tests press Ctrl-C on commands that they start. A shell makes what it starts in the background ignore it, and so would
# all that is started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)

SIDE = 16
COUNTS = {"train": 48, "test": 10}  # images a class
_BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1100",
)


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with grey 16 x 16 PNG files of three classes: stripes across, stripes down, a bright middle."""
    root = tmp_path_factory.mktemp("data") / "patterns"
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:SIDE, :SIDE]
    pictures = {
        "across": (row // 2 % 2) * 255,
        "down": (column // 2 % 2) * 255,
        "middle": (np.hypot(row - 7.5, column - 7.5) < 5) * 255,
    }
    for split, count in COUNTS.items():
        for name, picture in pictures.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = 0.6 * picture + rng.uniform(0, 100, (SIDE, SIDE))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's own Chromium, without a window, driven by its own driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()
