"""The files in deploy/ are what their tools take, and fit each other and the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from collage import __version__
from collage.serving import ServingSettings, load_settings

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
CLOSE_SECONDS = 5  # after the drain, for the last responses to be written


def _tool(name: str) -> str:
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def _manifest(kind: str) -> Any:
    (found,) = [one for one in map(yaml.safe_load, map(Path.read_text, MANIFESTS)) if one["kind"] == kind]
    return found


def _pod() -> Any:
    return _manifest("Deployment")["spec"]["template"]["spec"]


def test_yamllint() -> None:
    _run(_tool("yamllint"), "--strict", "-c", "deploy/.yamllint.yaml", "deploy", "tests/deploy")


def test_hadolint() -> None:
    _run(_tool("hadolint"), "deploy/Dockerfile")


def test_the_compose_file_has_its_schema() -> None:
    _run(_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")


def test_promtool_takes_configuration_and_rules() -> None:
    promtool = _tool("promtool")
    _run(promtool, "check", "config", "deploy/prometheus/prometheus.yml")
    _run(promtool, "test", "rules", "tests/deploy/alerts.yaml")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_takes_each_manifest(path: Path) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    manifest = yaml.safe_load(path.read_text())
    if path.parent.name == "optional":
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        return  # a kind that an operator brings
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_image_is_made_of_files_that_are_there_and_all_have_one_name() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    sources = [name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for name in line.split()]
    assert len(sources) == 5
    assert [name for name in sources if not (ROOT / name).exists()] == []
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == allowed
    assert {f"collage-gateway:{__version__}"} == {
        *re.findall(r"--tag (\S+)", text),
        _pod()["containers"][0]["image"],
        _read("compose.yaml")["services"]["gateway"]["image"],
    }


def test_the_images_python_is_one_that_is_supported_and_it_installs_no_extra() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    versions = set(re.findall(r"^FROM python:(\d+\.\d+)-slim", text, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert versions == {project["requires-python"].removeprefix(">=")}
    assert "-c constraints.txt ." in text
    assert ".[" not in text
    assert "torch" not in json.dumps(project["dependencies"])


def test_the_manifests_fit_each_other() -> None:
    selector = _manifest("Deployment")["spec"]["selector"]["matchLabels"]
    template = _manifest("Deployment")["spec"]["template"]
    assert template["metadata"]["labels"].items() >= selector.items()
    assert _manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
    service = _manifest("Service")
    assert service["spec"]["selector"] == selector
    assert (
        _manifest("ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    (port,) = service["spec"]["ports"]
    (container,) = template["spec"]["containers"]
    assert port["targetPort"] in {one["name"] for one in container["ports"]}
    assert _manifest("ServiceMonitor")["spec"]["endpoints"][0]["port"] == port["name"]
    assert _manifest("PodDisruptionBudget")["spec"]["minAvailable"] < _manifest("Deployment")["spec"]["replicas"]
    (volume,) = [one for one in template["spec"]["volumes"] if "configMap" in one]
    assert volume["configMap"]["name"] == _manifest("ConfigMap")["metadata"]["name"]
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == volume["name"]]
    (file,) = _manifest("ConfigMap")["data"]
    assert container["args"] == ["--config", f"{mount['mountPath']}/{file}"]


@pytest.fixture
def config_map(tmp_path: Path) -> ServingSettings:
    """The settings in the ConfigMap, as the gateway reads them."""
    path = tmp_path / "collage.toml"
    path.write_text(_manifest("ConfigMap")["data"]["collage.toml"])
    return load_settings(path)


def test_kubernetes_waits_for_the_drain(config_map: ServingSettings) -> None:
    (container,) = _pod()["containers"]
    assert config_map.port == container["ports"][0]["containerPort"]
    assert config_map.host == "0.0.0.0"
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    needed = float(seconds) + config_map.drain_seconds + CLOSE_SECONDS
    assert _pod()["terminationGracePeriodSeconds"] >= needed + 5
    # A query that was accepted just before the end may take as long as its deadline.
    assert config_map.default_deadline is not None
    assert config_map.drain_seconds >= config_map.default_deadline
    assert float(container["resources"]["requests"]["cpu"]) >= config_map.workers * config_map.threads


def test_compose_waits_for_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = _read("compose.yaml")["services"]["gateway"]
    for name, value in gateway["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.workers == 4
    assert float(gateway["stop_grace_period"].removesuffix("s")) >= settings.drain_seconds + CLOSE_SECONDS


def test_compose_mounts_what_is_there_and_where_it_is_looked_for() -> None:
    services = _read("compose.yaml")["services"]
    mounts = [one.split(":") for service in services.values() for one in service.get("volumes", [])]
    assert [source for source, *_ in mounts if source.startswith(".") and not (DEPLOY / source).exists()] == []
    (target,) = [target for source, target, *_ in mounts if source.endswith("collage.json")]
    (provider,) = _read("grafana/provisioning/dashboards/collage.yaml")["providers"]
    assert target == f"{provider['options']['path']}/collage.json"
    (source,) = _read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (scrape,) = _read("prometheus/prometheus.yml")["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["gateway:8080"]}]
    dashboard = json.loads((DEPLOY / "grafana/collage.json").read_text())
    chosen = {one["name"]: one for one in dashboard["templating"]["list"]}["datasource"]
    assert chosen["current"]["value"] == source["uid"]
