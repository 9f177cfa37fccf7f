"""The published gRPC client, unmodified and with the versions that it asks for, against the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import collage.zoo
from collage.zoo import load_model

HERE = Path(__file__).parent
SAMPLES = Path(collage.zoo.__file__).parent / "samples" / "fashion-mnist"


def test_tritonclient_as_published(environment: Path) -> None:
    python = environment / "bin" / "python"
    found = subprocess.run([python, "-c", "import tritonclient.grpc"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("no tritonclient there: tests/remote/make-mlserver.sh installs it")
    images = sorted(SAMPLES.glob("*/*.png"))[::20]
    serve = [sys.executable, "-c", "from collage.cli import main; main()", "serve", "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(
        [*serve, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as gateway:
        try:
            assert gateway.stdout is not None
            said = iter(gateway.stdout)
            address = next(line for line in said if line.startswith("gRPC at ")).split()[-1]
            next(line for line in said if "Serving at" in line)
            asked = subprocess.run(
                [python, HERE / "ask_by_triton.py", address, *images], capture_output=True, text=True, check=False
            )
            assert asked.returncode == 0, asked.stderr
        finally:
            gateway.terminate()
    answer = json.loads(asked.stdout)
    classes = load_model("fashion-mnist-single").card.classes
    right = [classes[index] == image.parent.name for index, image in zip(answer["classes"], images, strict=True)]
    assert sum(right) >= 0.7 * len(images)  # no model is always right
    assert all(len(answer[name]) == len(images) for name in ("source", "degraded", "confidence"))
