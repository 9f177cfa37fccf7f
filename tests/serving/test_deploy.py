"""What deploy/ says of a gateway's health is what a gateway says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def _healthy(port: int) -> bool:
    """What the image's health check finds."""
    text = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(re.search(r"^HEALTHCHECK [^\n]*\\\n +CMD (\[.*\])$", text, re.M).group(1))  # type: ignore[union-attr]
    assert command[0] == "python"
    environment = os.environ | {"COLLAGE_SERVE_PORT": str(port)}
    done = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False)
    return done.returncode == 0


def test_the_images_health_check_follows_readiness(start_gateway: Any, png: Any) -> None:
    gateway = start_gateway(workers=1, drain_seconds=60)
    assert _healthy(gateway.port)
    with gateway.stopped_workers():
        waiting = gateway.connect()
        waiting.request("POST", "/v1/classify?deadline_ms=60000", png(1))
        gateway.await_metric("collage_queries_in_flight", 1)
        gateway.process.terminate()
        gateway.await_no_longer_ready()
        assert not _healthy(gateway.port)  # it drains
    assert waiting.getresponse().status == 200
    waiting.close()
    assert gateway.process.wait() == 0
    assert not _healthy(gateway.port)


def test_probes_and_the_scrape_ask_for_what_is_served(gateway: Any) -> None:
    yaml = pytest.importorskip("yaml")
    deployment = yaml.safe_load((DEPLOY / "kubernetes/deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    paths = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")]
    monitor = yaml.safe_load((DEPLOY / "kubernetes/optional/servicemonitor.yaml").read_text())
    paths += [endpoint["path"] for endpoint in monitor["spec"]["endpoints"]]
    assert {path: gateway.ask("GET", path)[0] for path in paths} == dict.fromkeys(paths, 200)
