"""The file that the studies of a fleet share: each keeps the others' parts, also when they write at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collage.bench.fleet import update_fleet_json
from collage.exceptions import SettingsError


def test_a_part_replaces_its_own_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "results" / "fleet.json"
    update_fleet_json(path, "elastic", {"requests": 5})
    update_fleet_json(path, "gateways", [{"gateways": 1}, {"gateways": 4}])
    update_fleet_json(path, "ray", {"nodes": 3})
    update_fleet_json(path, "elastic", {"requests": 6})
    found = json.loads(path.read_text())
    assert found == {"ray": {"nodes": 3}, "gateways": [{"gateways": 1}, {"gateways": 4}], "elastic": {"requests": 6}}
    assert list(found) == ["ray", "gateways", "elastic"]  # in one order, whoever came last
    assert [file.name for file in path.parent.iterdir()] == ["fleet.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"cloud": {}}'])
def test_another_file_is_not_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"fleet\.json: .*move it away"):
        update_fleet_json(path, "ray", {})
    assert path.read_text() == content


def test_studies_that_end_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    parts = ("ray", "gateways", "elastic", "ddp", "edge")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update_fleet_json, [path] * 40, parts * 8, [{"of": part} for part in parts * 8]))
    assert json.loads(path.read_text()) == {part: {"of": part} for part in parts}
