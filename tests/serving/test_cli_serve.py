"""`collage serve` and `collage classify`, as commands."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest


def _collage(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from collage.cli import main; main()", *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COLLAGE_")} | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=env | environment, timeout=60, check=False)


def test_classify_prints_a_table(gateway: Any, png: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"[b]{index}.png" for index in (4, 8)]
    for path, index in zip(paths, (4, 8), strict=True):
        path.write_bytes(png(index))
    done = _collage("classify", *paths, "--url", gateway.url)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if ".png" in line]
    assert [("g4" in row, "g8" in row) for row in rows] == [(True, False), (False, True)]
    assert "[b]4.png" in rows[0]


def test_classify_says_in_one_line_what_is_wrong_with_each_file(gateway: Any, png: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(png(3))
    bad.write_bytes(b"no picture")
    done = _collage("classify", bad, tmp_path / "none.png", good, "--json", COLLAGE_URL=gateway.url)
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"{bad}: ")
    assert "not a JPEG" in errors[0]
    assert errors[1] == f"{tmp_path / 'none.png'}: cannot be read (No such file or directory)"
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert (answer["file"], answer["label"]) == (str(good), "g3")


def test_classify_passes_its_options_on(gateway: Any, png: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(3))
    done = _collage("classify", path, "--url", gateway.url, "--no-accept-degraded", "--deadline-ms", "99999999")
    assert (done.returncode, done.stdout) == (1, "")
    assert "deadline_ms" in done.stderr


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:99999"])
def test_classify_refuses_a_bad_url(url: str, tmp_path: Path) -> None:
    done = _collage("classify", tmp_path, "--url", url)
    assert (done.returncode, done.stderr.startswith("collage: --url: ")) == (2, True)


def test_classify_passes_its_key_on(start_gateway: Any, png: Any, tmp_path: Path) -> None:
    made = _collage("key", "new", "ants")
    key, settings = made.stdout.splitlines()[0], tomllib.loads(made.stdout[made.stdout.index("[tenants") :])
    assert key not in made.stdout.partition("\n")[2]
    served = start_gateway(workers=1, tenants=settings["tenants"])
    path = tmp_path / "a.png"
    path.write_bytes(png(3))
    refused = _collage("classify", path, "--url", served.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "a key is needed" in refused.stderr
    for arguments, environment in ((["--key", key], {}), ([], {"COLLAGE_KEY": key})):
        done = _collage("classify", path, "--url", served.url, "--json", *arguments, **environment)
        assert (done.returncode, json.loads(done.stdout)["label"]) == (0, "g3")
    assert served.stop()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [([], "one of TENANT"), (["a", "--admin"], "one of TENANT"), (["a b"], "TENANT: a tenant's name")],
)
def test_key_new_says_in_one_line_what_is_wrong(arguments: list[str], named: str) -> None:
    done = _collage("key", "new", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert named in done.stderr


def test_key_new_for_operators() -> None:
    for kind in ("admin", "monitor"):
        made = _collage("key", "new", f"--{kind}").stdout
        (line,) = [line for line in made.splitlines() if "=" in line]
        assert list(tomllib.loads(line)) == [f"{kind}_keys"]


def test_classify_without_a_gateway_is_one_line(png: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(3))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    done = _collage("classify", path, "--url", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert done.stderr.startswith("collage: no gateway answers at ")
    assert done.stderr.count("\n") == 1


def test_serve_refuses_a_taken_port_in_one_line(gateway: Any, models: dict[str, Path]) -> None:
    done = _collage("serve", "--port", gateway.port, "--single", models["single"], "--backup", models["collage"])
    assert done.returncode == 2
    assert done.stderr.startswith(f"collage: port: 127.0.0.1:{gateway.port} cannot be listened on (Address")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--workers", "0"], "workers: "),
        (["--single", "nothing"], "nothing: no model of that name"),
        (["--backup", "nothing"], "nothing: no model of that name"),
        (["--policy", "nothing"], "nothing"),
        (["--host", "256.1.1.1", "--open"], "host: '256.1.1.1' cannot be listened on"),
        (["--host", "0.0.0.0"], "host: 0.0.0.0 lets other machines connect, and whoever does may ask: set tenants"),
        (
            ["--policy", "collage", "--backup", "none"],
            "backup: policy 'collage' needs a collage model; policies none, ",
        ),
        (["--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
    ],
)
def test_serve_says_in_one_line_what_is_wrong(models: dict[str, Path], arguments: list[str], named: str) -> None:
    given = ["--single", models["single"], "--backup", models["collage"], "--port", "0", *arguments]
    done = _collage("serve", *given)
    assert done.returncode == 2
    assert done.stderr.startswith("collage: ")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
