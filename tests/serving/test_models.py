"""Several models in one gateway, and versions that come and go under load: by the published tritonclient, and raw."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from collage.exceptions import SettingsError
from collage.serving import DataPlane, load_settings
from collage.serving._models import Models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports
    import tritonclient.grpc as triton_grpc
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

from ..waiting import wait_until


def _again(card: Path, folder: Path, **changes: object) -> Path:
    """The same model in another file, whose hash differs."""
    content = json.loads(card.read_text()) | changes
    model = onnx.load(card.parent / content["file"])
    model.producer_name = str(folder.name)
    data = model.SerializeToString()
    (folder / content["file"]).write_bytes(data)
    content["sha256"] = hashlib.sha256(data).hexdigest()
    path = folder / card.name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def newer(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Version 4 of the single, and the backup that was made for it."""
    folder = tmp_path_factory.mktemp("newer")
    single = _again(models["single"], folder, version="4")
    collage = _again(models["collage"], folder, single_sha256=json.loads(single.read_text())["sha256"])
    return {"single": str(single), "backup": str(collage)}


@pytest.fixture(scope="module")
def served(start_gateway: Any, models: dict[str, Path]) -> Any:
    """Greys with its backup, and shades without one."""
    shades = {"name": "shades", "version": "1", "single": str(models["single"]), "policy": "none", "workers": 1}
    return start_gateway(grpc_port=0, models=[shades])


@pytest.fixture
def client(served: Any) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(served.address, network_timeout=120.0)
    yield client
    client.close()


def _files(png: Any, *labels: int) -> triton.InferInput:
    tensor = triton.InferInput("images", [len(labels)], "BYTES")
    tensor.set_data_from_numpy(np.array([png(label) for label in labels], dtype=object))
    return tensor


def _stats(client: triton.InferenceServerClient, name: str, version: str = "") -> dict[str, Any]:
    (found,) = client.get_inference_statistics(name, version)["model_stats"]
    return found  # type: ignore[no-any-return]


def _index(client: triton.InferenceServerClient) -> dict[tuple[str, str], str]:
    return {(row["name"], row["version"]): row["state"] for row in client.get_model_repository_index()}


def test_each_name_is_served_by_its_own(client: triton.InferenceServerClient, served: Any, png: Any) -> None:
    for name, version in (("greys", "3"), ("shades", "1")):
        assert client.is_model_ready(name)
        assert client.get_model_metadata(name)["versions"] == [version]
        result = client.infer(name, [_files(png, 3, 8)], version)
        assert result.as_numpy("logits").argmax(axis=1).tolist() == [3, 8]
        assert (result.get_response()["model_name"], result.get_response()["model_version"]) == (name, version)
        status, answer, _ = served.ask("POST", f"/v1/classify?model={name}", png(4))
        assert (status, answer["label"], answer["model"]) == (200, "g4", name)
        assert served.ask("GET", f"/v1/workers?model={name}")[1]["workers"][0]["id"] == "w0"
    assert served.ask("POST", "/v1/classify", png(4))[1]["model"] == "greys"
    assert served.ask("POST", "/v1/classify?model=blues", png(4))[0] == 404
    assert served.ask("POST", "/v1/backup/off?model=shades")[0] == 400
    assert _index(client) == {("greys", "3"): "READY", ("shades", "1"): "READY"}
    with pytest.raises(InferenceServerException, match="'blues' is not served here; 'greys' and 'shades' are"):
        client.get_model_metadata("blues")


def test_statistics_are_what_a_client_did(client: triton.InferenceServerClient, png: Any) -> None:
    before = _stats(client, "shades", "1")
    for labels in ((1,), (2, 3)):
        client.infer("shades", [_files(png, *labels)])
    broken = triton.InferInput("images", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no picture"], dtype=object))
    with pytest.raises(InferenceServerException):
        client.infer("shades", [broken])
    after = _stats(client, "shades")
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 3
    assert after["last_inference"] > 1_600_000_000_000
    counts = {
        name: found["count"] - before["inference_stats"][name]["count"]
        for name, found in after["inference_stats"].items()
    }
    stages = dict.fromkeys(("queue", "compute_input", "compute_infer", "compute_output"), 2)
    assert counts == {"success": 2, "fail": 1, "cache_hit": 0, "cache_miss": 0, **stages}
    times = {name: found["ns"] for name, found in after["inference_stats"].items()}
    assert 0 < sum(times[name] for name in stages) <= times["success"]
    assert times["compute_infer"] > 0
    assert [batch["batch_size"] for batch in after["batch_stats"]] == [1]
    assert after["sources"].keys() == {"single"}
    single = after["sources"]["single"]
    assert single["answers"]["count"] == after["inference_count"]
    assert single["executions"] == after["batch_stats"][0]["compute_infer"]
    assert sum(single[name]["ns"] for name in stages) == pytest.approx(single["answers"]["ns"], abs=10)
    assert {row["name"] for row in client.get_inference_statistics()["model_stats"]} == {"greys", "shades"}
    with pytest.raises(InferenceServerException, match="version: '9' of 'shades' is not served here"):
        _stats(client, "shades", "9")


def test_a_model_comes_goes_and_comes_back(
    client: triton.InferenceServerClient, served: Any, png: Any, newer: dict[str, str]
) -> None:
    client.load_model("tones", config=json.dumps({**newer, "workers": 1}))
    assert client.infer("tones", [_files(png, 7)]).get_response()["model_version"] == "4"
    client.load_model("tones", config=json.dumps({"version": "5", "keep": True}))
    assert client.get_model_metadata("tones")["versions"] == ["4", "5"]
    assert client.infer("tones", [_files(png, 7)]).get_response()["model_version"] == "5"
    assert client.infer("tones", [_files(png, 7)], "4").get_response()["model_version"] == "4"
    text = served.ask("GET", "/metrics")[1].decode()
    assert 'collage_answers_total{model="tones",source="single",version="5"} 1.0' in text.splitlines()
    status, answer, _ = served.ask("POST", "/v2/repository/models/tones/unload", b'{"parameters": {"version": "5"}}')
    assert (status, answer) == (200, {"name": "tones"})
    assert client.infer("tones", [_files(png, 7)]).get_response()["model_version"] == "4"
    client.unload_model("tones")
    assert not client.is_model_ready("tones")
    client.load_model("tones")
    assert client.is_model_ready("tones")
    client.unload_model("tones")
    left = {("greys", "3"): "READY", ("shades", "1"): "READY", ("tones", "4"): "UNAVAILABLE"}
    wait_until(lambda: _index(client) == left, "it has been stopped")
    assert 'model="tones",source=' not in served.ask("GET", "/metrics")[1].decode()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("greys", {"single": "single"}, "parameters: greys is not loaded: greys-3x3: was made for another single"),
        ("greys", {"backup": "backup"}, "parameters: greys is not loaded: greys-3x3: was made for another single"),
        ("greys", {"single": "single", "backup": "single"}, "parameters: greys is not loaded: backup: "),
        ("greys", {"single": "/nowhere.onnx"}, "parameters: greys is not loaded: /nowhere.onnx: no model of that name"),
        ("greys", {"wrkers": 1}, "parameters.wrkers: "),
        ("greys", {"workers": 0}, "parameters.workers: "),
        ("greys", {"keep": 1}, "parameters.keep: true or false"),
        ("greys", {"name": "blues"}, "parameters.name: "),
        ("greys", {"min_workers": 5, "max_workers": 6}, "parameters: workers (2) must be from min_workers"),
        ("greys", {"config": "{"}, "parameters.config: not valid JSON"),
        ("greys", {"file:1/model.onnx": "AAAA"}, "parameters.file:1/model.onnx: models are not taken from requests"),
        ("blues", {}, "model: 'blues' is not known here; the parameter 'single'"),
        ("stats", {}, "model: a model's name"),
    ],
)
def test_a_load_that_cannot_be_changes_nothing(
    served: Any, newer: dict[str, str], name: str, parameters: dict[str, Any], message: str
) -> None:
    parameters = {
        key: newer.get(value, value) if isinstance(value, str) else value for key, value in parameters.items()
    }
    body = json.dumps({"parameters": parameters}).encode()
    status, answer, _ = served.ask("POST", f"/v2/repository/models/{name}/load", body)
    assert (status, answer["error"][: len(message)]) == (404 if name == "blues" else 400, message)
    assert served.ask("GET", "/v2/models/greys")[1]["versions"] == ["3"]
    assert served.ask("GET", "/v2/health/ready")[0] == 200


def test_the_first_model_is_not_unloaded(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="it can be replaced by a load, not unloaded"):
        client.unload_model("greys")
    with pytest.raises(InferenceServerException, match="'blues' is not served here"):
        client.unload_model("blues")


def test_the_same_over_grpc(served: Any, png: Any, newer: dict[str, str]) -> None:
    client = triton_grpc.InferenceServerClient(served.grpc)
    client.load_model("hues", config=json.dumps({**newer, "workers": 1, "policy": "none", "backup": None}))
    tensor = triton_grpc.InferInput("images", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([png(1), png(2)], dtype=object))
    answer = client.infer("hues", [tensor], "4")
    assert answer.as_numpy("logits").argmax(axis=1).tolist() == [1, 2]
    (stats,) = client.get_inference_statistics("hues").model_stats
    assert (stats.name, stats.version, stats.inference_count, stats.execution_count) == ("hues", "4", 2, 2)
    done = stats.inference_stats
    assert [done.success.count, done.fail.count, done.queue.count, done.compute_infer.count] == [1, 0, 1, 1]
    assert 0 < done.compute_infer.ns < done.success.ns
    assert {row.name for row in client.get_inference_statistics().model_stats} == {"greys", "shades", "hues"}
    client.unload_model("hues")
    states = {row.name: row.state for row in client.get_model_repository_index().models}
    assert states["hues"] in ("UNLOADING", "UNAVAILABLE")
    with pytest.raises(InferenceServerException, match=r"parameters\.wrkers"):
        client.load_model("greys", config='{"wrkers": 1}')
    client.close()


def test_no_query_is_lost_where_a_version_is_swapped_under_load(
    start_gateway: Any, png: Any, newer: dict[str, str], models: dict[str, Path]
) -> None:
    """Eight clients ask without a pause, while the single goes to version 4, back to 3, and there to another backup."""
    gateway = start_gateway(hold=0.02, workers=2, policy_overrides={"warmup": 20, "patience_quantile": 0.6})
    seen: Counter[str] = Counter()
    over = threading.Event()

    def visit(index: int) -> int:
        data = [base64.b64encode(png(index)).decode()]
        body = json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": data}]}).encode()
        asked = 0
        while not over.is_set():
            status, answer, _ = gateway.ask("POST", "/v2/models/greys/infer", body)
            assert status == 200, answer
            assert int(np.argmax(answer["outputs"][0]["data"])) == index
            seen[answer["model_version"]] += 1
            asked += 1
        return asked

    def load(**parameters: object) -> str:
        body = json.dumps({"parameters": parameters}).encode()
        status, answer, _ = gateway.ask("POST", "/v2/repository/models/greys/load", body)
        assert status == 200, answer
        return str(answer["version"])

    with ThreadPoolExecutor(8) as pool:
        visits = [pool.submit(visit, index) for index in range(8)]
        try:
            wait_until(lambda: seen["3"] >= 20, "20 answers of version 3")
            assert load(**newer) == "4"
            asked = seen["4"]
            wait_until(lambda: seen["4"] >= asked + 20, "20 more of version 4")
            assert load(single=str(models["single"]), backup=str(models["collage"])) == "3"
            assert load(backup=str(models["collage"]), workers=3) == "3"
            old = seen.copy()
            wait_until(lambda: seen["3"] >= old["3"] + 20, "20 more of version 3")
        finally:  # else what goes wrong here would never be heard of: the pool waits for its threads
            over.set()
        asked = sum(visit.result() for visit in visits)
    assert seen.total() == asked
    assert seen["4"] - old["4"] <= 8  # only what was on its way as the next version came
    assert len(gateway.ask("GET", "/v1/workers")[1]["workers"]) == 3
    assert gateway.ask("GET", "/v1/status")[1]["ready"]
    wait_until(lambda: len(gateway.worker_pids()) <= 3, "the workers of other versions have been stopped")
    assert [row["state"] for row in gateway.ask("POST", "/v2/repository/index")[1]] == ["READY"]
    assert gateway.metrics()["collage_queries_in_flight"] == 0
    assert gateway.stop()[0] == 0


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([{"name": "blues"}], "models.0.single: which single it serves is needed"),
        ([{"single": "SINGLE", "policy": "none"}], "models.0: there is a version 3 of greys already"),
        ([{"name": "a b", "single": "SINGLE"}], "models.0.name: a model's name, or its version"),
        ([{"single": "SINGLE", "wrkers": 1}], "models.0.wrkers: "),
        ([{"single": "SINGLE", "fleet": "x.toml", "workers": 2}], "models.0.workers: the fleet file says so"),
        ([{"single": "SINGLE", "max_queue": 2}], "models.0.max_images (64) must be at most max_queue (2)"),
    ],
)
def test_tables_that_make_no_sense(models: dict[str, Path], tables: list[dict[str, Any]], message: str) -> None:
    single, backup = str(models["single"]), str(models["collage"])
    tables = [{key: single if value == "SINGLE" else value for key, value in table.items()} for table in tables]

    def make() -> None:
        settings = load_settings(single=single, backup=backup, models=tables)
        Models(settings, DataPlane(settings))

    with pytest.raises(SettingsError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_a_table_has_its_own_backup_and_workers_and_inherits_the_rest(models: dict[str, Path]) -> None:
    settings = load_settings(
        single=str(models["single"]),
        backup=str(models["collage"]),
        policy_overrides={"budget": 0.3},
        max_workers=4,
        threads=2,
        models=[
            {"name": "plain", "single": str(models["single"]), "backup": str(models["collage"]), "workers": 7},
            {"name": "none", "single": str(models["single"]), "policy": "none"},
        ],
    )
    first, plain, none = Models(settings, DataPlane(settings)).served
    assert plain.plane.policy.budget == first.plane.policy.budget == 0.3
    assert (plain.settings.workers, plain.settings.threads, plain.settings.max_workers) == (7, 2, None)
    assert (none.plane.backups, none.settings.policy_overrides) == ([], {})
