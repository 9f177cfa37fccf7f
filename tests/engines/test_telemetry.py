"""What a worker runs tells nobody outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["collage.engines._worker", "collage.zoo._session"])
def test_onnx_runtime_keeps_no_telemetry(tmp_path: Path, module: str) -> None:
    away = ("ORT_", "XDG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(away)}
    code = f"import {module}, onnxruntime, os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
