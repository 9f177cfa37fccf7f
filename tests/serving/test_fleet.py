"""Fleets: what a file may say, and gateways whose workers are elsewhere; other gateways speak the protocol too."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from collage.engines import MixedEngine
from collage.exceptions import SettingsError
from collage.serving import DataPlane, Encoded, ServingSettings, load_settings
from collage.zoo import load_model, open_session

from ..engines.remote import Remote, binary_answer
from .planes import Models, of_kind


def fleet(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return path


REMOTE = '[[remote]]\nurls = ["http://127.0.0.1:1"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no workers; a \\[\\[local\\]\\] or \\[\\[remote\\]\\] is needed"),
        ("[[local]\n", "is no valid TOML"),
        ("[[local]]\nworkers = 0\n", r"local\.0\.workers: input should be greater than or equal to 1"),
        ("[[local]]\nworkers = 1\nroles = ['both']\n", r"local\.0\.roles\.0: input should be 'single' or 'backup'"),
        ("[[local]]\nworkers = 1\nroles = []\n", r"local\.0\.roles: "),
        ("[[local]]\nworkers = 1\nroles = ['single']\n", "roles: no worker runs the backup greys-3x3"),
        ("[[local]]\nworkers = 1\nroles = ['backup']\n", "roles: no worker runs the single"),
        ("[[locl]]\nworkers = 1\n", r"locl: no such key; did you mean local\?"),
        ("[[remote]]\nurls = []\n", r"remote\.0\.urls: "),
        ("[[remote]]\nurls = ['http://a:b']\n", "urls: 'http://a:b' is none; "),
        (REMOTE + "slot = 2\n", r"remote\.0\.slot: no such key; did you mean slots\?"),
        (REMOTE + "slots = 2\nmax_batch = 3\n", r"remote\.0: max_batch: 3 singles cannot share"),
        (REMOTE + "single = { name = 'x' }\n", r"remote\.0\.single\.name: no such key"),
        (REMOTE + "tls = { key = 'k.pem' }\n", r"remote\.0\.tls: certificate and key belong together"),
        (REMOTE + "headers_env = { A = 'NOBODYS' }\n", r"headers_env\.A: the environment has no NOBODYS"),
        (REMOTE + REMOTE, "urls: http://127.0.0.1:1 is there twice"),
        (REMOTE + "backups = { small = {} }\n", r"remote\.0\.backups\.small"),
        (REMOTE + "backups = { single = {} }\n", r"remote\.0: backups: a single is none"),
        (REMOTE + "backup = {}\nbackups = { cheap = {} }\n", r"remote\.0: backup: there is backups, too"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused_by_its_key(
    models: Models, tmp_path: Path, text: str, message: str
) -> None:
    settings = load_settings(single=str(models["single"]), backup=str(models["collage"]), fleet=fleet(tmp_path, text))
    with pytest.raises(SettingsError, match=f"(?s)^(fleet: .*|){message}") as caught:
        DataPlane(settings)
    assert "\n" not in str(caught.value)


def test_files_are_looked_for_beside_the_fleet_file(models: Models, tmp_path: Path) -> None:
    text = "[[remote]]\nurls = ['https://a:1']\ntls = { ca = 'none.pem' }\n"
    settings = load_settings(single=str(models["single"]), policy="none", fleet=fleet(tmp_path, text))
    with pytest.raises(SettingsError, match="tls: a file of it cannot be used"):
        DataPlane(settings)


def test_a_fleet_and_a_number_of_workers_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="workers: the fleet file says so"):
        load_settings(fleet=fleet(tmp_path, REMOTE), workers=3)
    with pytest.raises(SettingsError, match=r"fleet: .* cannot be read"):
        DataPlane(load_settings(fleet=tmp_path / "none.toml"))


def test_a_policy_without_a_backup_leaves_workers_their_singles(models: Models, tmp_path: Path) -> None:
    text = "[[local]]\nworkers = 2\n[[local]]\nworkers = 1\nthreads = 2\n" + REMOTE
    settings = load_settings(single=str(models["single"]), policy="hedge", fleet=fleet(tmp_path, text))
    plane = DataPlane(settings)
    assert list(plane.engine.workers) == ["w0", "w1", "w2", "127.0.0.1:1"]
    assert plane.workers_wanted == 4
    only = fleet(tmp_path, "[[local]]\nworkers = 1\n[[local]]\nworkers = 1\nroles = ['backup']\n")
    with pytest.raises(SettingsError, match=r"local\.1\.roles: only a backup, and the policy has none"):
        DataPlane(load_settings(single=str(models["single"]), policy="hedge", fleet=only))


def test_a_gateway_of_gateways(start_gateway: Any, png: Callable[[int], bytes], tmp_path: Path) -> None:
    """Singles on two other gateways, collages here. One of the two is stopped, killed, and comes back."""
    behind = [start_gateway(policy="none", workers=1) for _ in range(2)]
    text = f"""
    [[remote]]
    urls = ["{behind[0].url}", "{behind[1].url}/"]
    roles = ["single"]
    timeout = 1.0
    probe_interval = 0.1
    probe_timeout = 0.5
    [[local]]
    workers = 1
    roles = ["backup"]
    """
    front = start_gateway(fleet=fleet(tmp_path, text), control_share=0)
    addresses = [gateway.address for gateway in behind]
    for worker in (*addresses, "w0"):
        front.await_metric(f'collage_worker_state{{state="idle",worker="{worker}"}}', 1)

    def ask_all() -> None:
        for label in range(10):
            status, answer, _ = front.ask("POST", "/v1/classify?deadline_ms=20000", png(label))
            assert (status, answer["label"]) == (200, f"g{label}"), answer

    ask_all()
    assert front.metrics()['collage_worker_jobs_done_total{worker="w0"}'] == 0
    os.kill(behind[0].process.pid, signal.SIGSTOP)  # it still accepts connections, and answers nothing
    try:
        ask_all()
        front.await_metric("collage_workers_up", 2)
        ask_all()
    finally:
        os.kill(behind[0].process.pid, signal.SIGCONT)
    front.await_metric("collage_workers_up", 3)
    behind[0].process.kill()
    behind[0].process.wait()
    front.await_metric("collage_workers_up", 2)
    ask_all()
    behind[0] = start_gateway(policy="none", workers=1, port=behind[0].port)
    front.await_metric("collage_workers_up", 3)
    ask_all()
    status, said, _ = front.ask("GET", "/v1/status")
    assert (status, [worker["id"] for worker in said["workers"]]) == (200, ["w0", *addresses])


def test_a_fleet_has_one_backup_of_each_role(models: Models, tmp_path: Path) -> None:
    two = [str(models["collage"]), of_kind(models, tmp_path, "small", "cheap")]
    plane = DataPlane(
        load_settings(single=str(models["single"]), backup=two, policy="auto", fleet=fleet(tmp_path, REMOTE))
    )
    assert [model.card.name for model in plane.backups] == ["greys-3x3", "small"]
    named = fleet(tmp_path, REMOTE + "backup = { model = 'theirs' }\n")
    with pytest.raises(SettingsError, match=r"^fleet: remote\.0\.backup: there are greys-3x3 and small; say backups"):
        DataPlane(load_settings(single=str(models["single"]), backup=two, policy="auto", fleet=named))


def test_two_backups_on_a_server_by_the_names_they_have_there(
    models: Models, png: Callable[[int], bytes], tmp_path: Path
) -> None:
    """A query that is late alone gets the small model, several get a collage."""
    there = {"tiny": models["single"], "grid": models["collage"]}
    sessions = {name: open_session(load_model(str(card)).path) for name, card in there.items()}
    ran: set[str] = set()

    async def answer(request: web.Request, sent: dict[str, Any], inputs: Any) -> web.Response:
        name = request.match_info["model"]
        ran.add(name)
        (output,) = sessions[name].run(None, {"images": inputs})
        return binary_answer(name, sent["id"], "logits", output)

    async def main() -> None:
        async with Remote(binary=True) as server:
            server.answer, server.metadata = answer, {}
            text = f"""
            [[local]]
            workers = 4
            roles = ["single"]
            [[remote]]
            urls = ["{server.url}"]
            roles = ["backup"]
            slots = 4
            backups = {{ collage = {{ model = "grid" }}, cheap = {{ model = "tiny" }} }}
            """
            settings = load_settings(
                single=str(models["single"]),
                backup=[str(models["collage"]), of_kind(models, tmp_path, "small", "cheap")],
                policy="collage",
                policy_overrides={
                    "trigger_quantile": 0.0,
                    "accept": "first",
                    "warmup": 1,
                    "budget": 4,
                    "alone": "cheap",
                },
                fleet=fleet(tmp_path, text),
            )
            seconds = itertools.cycle([0.01, 0.1, 0.1])  # one single teaches when the others are late
            plane = DataPlane(settings, hold=lambda *_: next(seconds))
            await plane.start()
            while ran < there.keys():
                for order in ([3], [7, 2], [5, 0, 9]):
                    answers = await plane.classify([Encoded(png(index)) for index in order], deadline=60.0)
                    assert [answer.index for answer in answers] == order
            await plane.stop()

    asyncio.run(main())


@pytest.mark.parametrize("lie", ["nan", "infinite", "another's shape", "nothing"])
def test_a_liar_costs_no_query(models: Models, png: Callable[[int], bytes], lie: str, tmp_path: Path) -> None:
    async def answer(_request: web.Request, sent: dict[str, Any], inputs: Any) -> web.Response:
        scores = np.zeros((len(inputs), 10), "<f4")
        if lie == "nothing":
            return web.Response(status=200)
        scores += {"nan": np.nan, "infinite": np.inf}.get(lie, 0.0)
        shape = None if lie != "another's shape" else (2, 5)
        return binary_answer("greys", sent["id"], "logits", scores, shape)

    async def main() -> None:
        async with Remote(binary=True) as liar:
            liar.answer = answer
            liar.metadata = {}
            text = f'[[remote]]\nurls = ["{liar.url}"]\nslots = 4\n[[local]]\nworkers = 1\n'
            settings = ServingSettings(
                single=str(models["single"]), backup=str(models["collage"]), fleet=fleet(tmp_path, text)
            )
            plane = DataPlane(settings)
            assert isinstance(plane.engine, MixedEngine)
            await plane.start()
            for label in range(10):
                (got,) = await plane.classify([Encoded(png(label))], deadline=30.0)
                assert got.label == f"g{label}"
            assert liar.requests
            await plane.stop()

    asyncio.run(main())


def test_a_gateway_may_be_there_before_its_servers(
    models: Models, png: Callable[[int], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        text = '[[remote]]\nurls = ["http://127.0.0.1:1"]\n'
        settings = ServingSettings(single=str(models["single"]), policy="none", fleet=fleet(tmp_path, text))
        plane = DataPlane(settings)
        await plane.start()
        assert not plane.ready
        assert "worker 127.0.0.1:1 is down: single: no connection" in caplog.text
        await plane.stop()

    asyncio.run(main())
