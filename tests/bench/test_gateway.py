"""The comparison of gateways: bare ONNX Runtime and Collage for real; other servers' commands without starting them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from collage.bench._http import HttpAnswer
from collage.bench.gateway import (
    Cell,
    GatewayJournal,
    GatewaySettings,
    Served,
    Server,
    Session,
    SessionResult,
    load_gateway,
    measure_costs,
    missing,
    run_gateway,
    sessions,
    summarise,
    verdicts,
    write_gateway,
)
from collage.bench.gateway._noop import make_noop
from collage.bench.gateway._servers import launch, version_of
from collage.cli._app import app
from collage.cli._bench_gateway import register
from collage.exceptions import SettingsError
from collage.zoo import load_model, open_session

ROOT = Path(__file__).resolve().parents[2]
SINGLE, COLLAGE = "fashion-mnist-single", "fashion-mnist-collage-3x3"


@pytest.fixture(scope="module")
def tiny() -> GatewaySettings:
    """A fraction of a second for each server."""
    return GatewaySettings(
        servers=(Server.BARE, Server.COLLAGE_NONE, Server.COLLAGE, Server.LITSERVE),
        models=(Served.NOOP,),
        concurrency=(1, 3),
        warm_seconds=0.05,
        seconds=0.2,
        half_seconds=0.2,
        rounds=1,
        workers=1,
    )


@pytest.fixture(scope="module")
def measured(tiny: GatewaySettings, tmp_path_factory: pytest.TempPathFactory) -> GatewayJournal:
    """A whole run; no other server is there."""
    folder = tmp_path_factory.mktemp("gateway")
    journal = GatewayJournal(folder / "journal.jsonl", tiny)
    journal.open()
    asyncio.run(run_gateway(tiny, journal, folder / "run", folder / "nowhere"))
    return journal


def test_what_is_measured_is_answered(measured: GatewayJournal) -> None:
    servers = [result.session.server for result in measured.results]
    assert servers == [Server.BARE, Server.COLLAGE_NONE, Server.COLLAGE]  # the other one is not there
    assert all(result.bad == 0 for result in measured.results)
    for result in measured.results[1:]:
        assert [cell.connections for cell in result.cells] == [1, 3]
        assert all(cell.rps > 0 and 0 < cell.p50_ms <= cell.p99_ms for cell in result.cells)
        assert all(cell.process_us is not None and cell.client_us > 0 for cell in result.cells)
        assert 0 < result.half_p50_ms <= result.half_p99_ms


def test_a_finished_run_goes_on_with_nothing(tiny: GatewaySettings, measured: GatewayJournal, tmp_path: Path) -> None:
    again = GatewayJournal(measured.path, tiny)
    again.open()
    assert again.results == measured.results
    asyncio.run(run_gateway(tiny, again, tmp_path, tmp_path, lambda *_: pytest.fail("all of it is done")))
    other = GatewayJournal(measured.path, tiny.model_copy(update={"workers": 2}))
    with pytest.raises(SettingsError, match="other settings"):
        other.open()


def test_the_report_holds_what_was_asked_for(tiny: GatewaySettings, measured: GatewayJournal, tmp_path: Path) -> None:
    costs = measure_costs(load_model(SINGLE), load_model(COLLAGE), queries=20)
    assert all(value > 0 for value in costs.model_dump().values())
    paths = write_gateway(tiny, measured.results, costs, tmp_path, command="collage bench-gateway")
    assert all(path.stat().st_size for path in paths)
    rows = json.loads((tmp_path / "gateway.json").read_text())
    assert [row["server"] for row in rows] == ["bare-onnxruntime", "collage-none", "collage"]
    assert {"server", "model", "rps", "p50_ms", "p99_ms", "version", "settings"} <= rows[0].keys()


def _result(server: Server, model: Served, rps: float, p50: float, turn: int = 0) -> SessionResult:
    cells = [
        Cell(connections=n, rps=rps / n, p50_ms=1, p99_ms=2, bad=0, server_us=9.0, process_us=5.0, client_us=1.0)
        for n in (1, 2)
    ]
    return SessionResult(
        session=Session(round=turn, server=server, model=model),
        version="1",
        settings={},
        cells=cells,
        half_rate=rps / 2,
        half_p50_ms=p50,
        half_p99_ms=2 * p50,
        bad=0,
    )


def test_rows_are_medians_of_the_best_concurrency() -> None:
    rounds = [_result(Server.LITSERVE, Served.NOOP, rps, rps / 100, turn) for turn, rps in enumerate((100, 300, 200))]
    (row,) = summarise(rounds)
    assert (row.rps, row.rps_low, row.rps_high, row.connections, row.rounds) == (200, 100, 300, 1, 3)
    assert (row.p50_ms, row.p99_ms, row.process_us) == (2.0, 4.0, None)


def test_verdicts_say_what_is_met_and_what_is_not() -> None:
    found = verdicts(
        summarise(
            [
                _result(Server.COLLAGE_NONE, Served.NOOP, 300, 1),
                _result(Server.LITSERVE, Served.NOOP, 100, 1),
                _result(Server.RAY_SERVE, Served.NOOP, 200, 1),
                _result(Server.BARE, Served.SINGLE, 100, 5.0),
                _result(Server.COLLAGE, Served.SINGLE, 95, 5.9),
            ]
        )
    )
    assert [(verdict.met, verdict.found) for verdict in found] == [
        (False, "1.50x ray-serve"),
        (True, "95.0%"),
        (True, "+0.90 ms"),
    ]


def test_each_round_begins_with_another_server() -> None:
    found = sessions(GatewaySettings(servers=(Server.BARE, Server.COLLAGE), models=(Served.NOOP,), rounds=3))
    assert [session.server for session in found] == [
        *(Server.BARE, Server.COLLAGE),
        *(Server.COLLAGE, Server.BARE),
        *(Server.BARE, Server.COLLAGE),
    ]


def test_the_noop_models_give_the_image_back(tmp_path: Path) -> None:
    paths = make_noop(tmp_path, load_model(SINGLE).card)
    image = np.arange(784, dtype=np.float32).reshape(1, 1, 28, 28)
    (scores,) = open_session(load_model(str(paths.single)).path).run(None, {"images": image})
    assert scores.tolist() == [list(range(10))]
    (tiles,) = open_session(load_model(str(paths.collage)).path).run(None, {"images": np.tile(image, (1, 1, 3, 3))})
    assert tiles.shape == (1, 9, 11)


@pytest.mark.parametrize(
    ("server", "settings", "body"),
    [
        (Server.LITSERVE, {"workers_per_device": 3, "fast_queue": True}, b'{"scores":[1.0,2.0]}'),
        (Server.MLSERVER, {"parallel_workers": 3}, b'{"outputs":[{"data":[1.0,2.0]}]}'),
        (Server.RAY_SERVE, {"num_replicas": 3, "RAY_SERVE_ENABLE_HA_PROXY": "1"}, b"\0\0\x80?\0\0\0@"),
    ],
)
def test_others_are_asked_in_their_own_form(
    server: Server, settings: dict[str, object], body: bytes, tmp_path: Path
) -> None:
    image = np.ones((1, 1, 28, 28), np.float32)
    model = load_model(SINGLE)
    found = launch(server, model, None, image, workers=3, port=12345, environments=tmp_path)
    assert found.command[0] == str(tmp_path / server.value / "bin" / "python")
    assert settings.items() <= found.settings.items()
    assert found.query.startswith(b"POST /")
    assert found.scores(HttpAnswer(200, body)).tolist() == [1.0, 2.0]
    assert not any(name.startswith("COLLAGE") for name in found.environment)
    told = " ".join([*found.command, *found.files.values()])
    assert "12345" in told
    assert str(model.path) in told


def test_a_missing_environment_is_said(tmp_path: Path) -> None:
    assert missing(GatewaySettings(), tmp_path) == [Server.LITSERVE, Server.MLSERVER, Server.RAY_SERVE]
    assert version_of(Server.LITSERVE, tmp_path) == "unknown"
    register(app)
    file = tmp_path / "one.toml"
    file.write_text('name = "one"\nservers = ["litserve"]\nmodels = ["noop"]\nrounds = 1\n')
    arguments = ["bench-gateway", "--config", file, "--rivals", tmp_path, "--out", tmp_path, "--runs", tmp_path]
    said = CliRunner().invoke(app, list(map(str, arguments))).output
    assert "litserve is left out" in said
    assert "written:" in said


def test_the_kept_experiment_is_good() -> None:
    settings = load_gateway(ROOT / "experiments" / "gateway.toml")
    assert settings.servers == tuple(Server)
