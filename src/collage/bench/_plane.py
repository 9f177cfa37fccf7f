"""The data plane of one turn: the policy's models, the workers' roles, and what its dispatcher has spent."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from collage.bench._settings import RIVALS, BenchSettings
from collage.bench._stage import Stage
from collage.dispatch import Role, Source
from collage.engines import Engine
from collage.exceptions import SettingsError
from collage.serving import DataPlane, ServingSettings
from collage.zoo import LoadedModel, check_bound, load_model


class Work(NamedTuple):
    """What a dispatcher has spent so far: worker-seconds of first singles, of everything else, and backups."""

    single_seconds: float
    extra_seconds: float
    backups_sent: int

    def since(self, before: Work) -> Work:
        """What has been spent after `before`."""
        seconds = (self.single_seconds - before.single_seconds, self.extra_seconds - before.extra_seconds)
        return Work(*seconds, self.backups_sent - before.backups_sent)


def backup_source(settings: BenchSettings, policy: str) -> Source | None:
    """What answers beside the single under this policy; None where nothing does."""
    return None if policy in RIVALS else settings.policy(policy).code


def load_models(settings: BenchSettings) -> dict[Role, LoadedModel]:
    """The single, and the backups that any policy needs, by role.

    Raises ModelError for one that is missing, damaged or no partner of the single, SettingsError for one not named.
    """
    single = load_model(settings.models.single)
    models = {Role.SINGLE: single}
    for policy in settings.policies:
        source = backup_source(settings, policy)
        if source is None or source.role in models:
            continue
        name = _backup_name(settings, source)
        if name is None:
            raise SettingsError(f"models.{source.role}: is needed for policy {policy}")
        models[source.role] = load_model(name)
        check_bound(single, models[source.role])
        if models[source.role].card.role is not source.role:
            raise SettingsError(f"models.{source.role}: {name} is a {models[source.role].card.role}")
    return models


def experiment_id(settings: BenchSettings) -> str:
    """What a journal's turns belong to: the settings and the very models. Raises as `load_models` does."""
    hashes = [f"{role}={model.card.sha256}" for role, model in sorted(load_models(settings).items())]
    return hashlib.sha256("\n".join([settings.fingerprint, *hashes]).encode()).hexdigest()[:16]


def open_plane(policy: str, settings: BenchSettings, stage: Stage, engine: Engine) -> DataPlane:
    """A data plane as `collage serve` has it, but for what is equal for all policies: this engine, and room for all.

    No query is refused for want of room, and none has a deadline: what a policy cannot carry must show as latency. The
    share of controls is the gateway's own, for every policy.
    """
    source = backup_source(settings, policy)
    serving: dict[str, Any] = {
        "single": settings.models.single,
        "backup": None if source is None else _backup_name(settings, source),
        "workers": len(stage.local.workers),
        "policy": "none" if policy in RIVALS else policy,
        "policy_overrides": {} if policy in RIVALS else settings.overrides.get(policy, {}),
        "max_queue": 100_000,
    }
    return DataPlane(_Serving(**serving), engine=engine)


def work(plane: DataPlane) -> Work:
    """What the plane's dispatcher has spent so far, on jobs that have ended."""
    stats = plane.dispatcher.stats
    return Work(stats.single_seconds, stats.extra_seconds, stats.backups_sent)


def _backup_name(settings: BenchSettings, source: Source) -> str | None:
    name: str | None = getattr(settings.models, source.role.value, None)
    return name


class _Serving(ServingSettings):
    """A gateway's settings out of an experiment alone: what the environment sets is for `collage serve`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given here."""
        return (init_settings,)
