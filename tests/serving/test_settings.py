"""Settings: four places, one order, and nothing misspelt gets through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collage.exceptions import SettingsError
from collage.serving import ServingSettings, load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "collage.toml"
    path.write_text('port = 9001\nworkers = 7\nbackup = "none"\n[policy_overrides]\npatience = 0.25\n')
    return path


def test_defaults_are_valid_and_every_field_is_described() -> None:
    settings = ServingSettings()
    assert (settings.host, settings.port, settings.policy) == ("127.0.0.1", 8080, "auto")
    assert all(field.description for field in ServingSettings.model_fields.values())


def test_flags_beat_environment_beats_file_beats_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_SERVE_PORT", "9002")
    monkeypatch.setenv("COLLAGE_SERVE_THREADS", "2")
    settings = load_settings(config, threads=3, host=None)
    assert (settings.host, settings.workers, settings.port, settings.threads) == ("127.0.0.1", 7, 9002, 3)
    assert settings.backup is None
    assert settings.policy_overrides == {"patience": 0.25}


def test_policy_overrides_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_SERVE_POLICY_OVERRIDES", '{"patience": 0.5}')
    assert load_settings().policy_overrides == {"patience": 0.5}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"port": 70000}, "port"),
        ({"workers": 0}, "workers"),
        ({"control_share": 1.5}, "control_share"),
        ({"default_deadline": 90.0}, "default_deadline"),
        ({"max_images": 500, "max_queue": 100}, "max_images"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_a_value_out_of_range_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        load_settings(**flags)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("max_quue = 3\n")
    with pytest.raises(SettingsError, match=r"max_quue: no such setting.*did you mean max_queue\?"):
        load_settings(path)


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_SERVE_PROT", "1")
    with pytest.raises(SettingsError, match=r"COLLAGE_SERVE_PROT: no such setting.*the environment.*port"):
        load_settings()


@pytest.mark.parametrize(("content", "says"), [("port = = 3", "not valid TOML"), (b"\xff\xfe\x00", "not valid TOML")])
def test_a_broken_file_is_named(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=f"broken.toml: {says}"):
        load_settings(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_broken_table_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_SERVE_POLICY_OVERRIDES", "{")
    with pytest.raises(SettingsError, match="policy_overrides"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "meant"), [("a", "a"), ("a, b", ("a", "b")), (["a", "b"], ("a", "b")), (["a"], "a"), ("none", None)]
)
def test_a_backup_may_be_one_name_or_several(given: object, meant: object) -> None:
    assert load_settings(backup=given).backup == meant


def test_several_backups_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAGE_SERVE_BACKUP", "a,b")
    assert load_settings().backup == ("a", "b")


KEY = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"tenants": {"a": {}}}, "tenants.a: has neither keys nor certificates"),
        ({"tenants": {"a": {"keys": [KEY]}, "b": {"keys": [KEY]}}}, "tenants.b: a key of its is tenants.a's, too"),
        (
            {"tenants": {"a": {"certificates": ["x"]}, "b": {"certificates": ["x"]}}},
            "tenants.b: a certificate of its is tenants.a's, too",
        ),
        ({"tenants": {"a": {"keys": [KEY]}}, "admin_keys": [KEY]}, "admin_keys: a key of its is tenants.a's, too"),
        ({"tenants": {"a b": {"keys": [KEY]}}}, "a tenant's name has letters"),
        ({"tenants": {"a": {"keys": [KEY], "colour": 3}}}, "tenants.a.colour"),
        ({"tenants": {"a": {"keys": [KEY], "burst": 0}}}, "tenants.a.burst"),
        ({"host": "0.0.0.0"}, "host: 0.0.0.0 lets other machines connect"),
        ({"host": "example.org", "admin_keys": [KEY]}, "host: example.org lets other machines connect"),
    ],
)
def test_tenants_that_make_no_sense_are_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)) as caught:
        load_settings(**flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        {"tenants": {"a": {"keys": ["ck_in-the-clear"]}}},
        {"admin_keys": ["ck_in-the-clear"]},
        {"monitor_keys": "ck_in-the-clear"},
    ],
)
def test_a_key_in_clear_is_refused_and_not_repeated(flags: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="keys") as caught:
        load_settings(**flags)
    assert "in-the-clear" not in str(caught.value)


@pytest.mark.parametrize("flags", [{"open": True}, {"tenants": {"a": {"keys": [KEY]}}}])
def test_other_machines_may_connect_where_that_was_meant(flags: dict[str, object]) -> None:
    settings = load_settings(host="0.0.0.0", **flags)
    assert not settings.local
    assert not settings.collages_shown


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_hosts_that_only_this_machine_reaches(host: str) -> None:
    assert load_settings(host=host).local
