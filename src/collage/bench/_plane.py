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
        for source in _backups(settings, policy):
            name = _backup_name(settings, source)
            if name is None or source.role in models:
                continue
            models[source.role] = load_model(name)
            check_bound(single, models[source.role])
            if models[source.role].card.role is not source.role:
                raise SettingsError(f"models.{source.role}: {name} is a {models[source.role].card.role}")
    return models


def _backups(settings: BenchSettings, policy: str) -> list[Source]:
    """Codes of a policy whose jobs run a model of their own, its own code first.

    Of a choice of codes, those whose model is named will do, as in a gateway. Raises SettingsError for one that is
    needed and not named.
    """
    if policy in RIVALS:
        return []
    chosen = settings.policy(policy)
    wanted = [source for source in chosen.codes if source.role is not Role.SINGLE]
    named = [source for source in wanted if _backup_name(settings, source) is not None]
    if not chosen.among and (missing := [source for source in wanted if source not in named]):
        raise SettingsError(f"models.{missing[0].role}: is needed for policy {policy}")
    return named


def experiment_id(settings: BenchSettings) -> str:
    """What a journal's turns belong to: the settings and the very models. Raises as `load_models` does."""
    hashes = [f"{role}={model.card.sha256}" for role, model in sorted(load_models(settings).items())]
    return hashlib.sha256("\n".join([settings.fingerprint, *hashes]).encode()).hexdigest()[:16]


def open_plane(policy: str, settings: BenchSettings, stage: Stage, engine: Engine) -> DataPlane:
    """A data plane as `collage serve` has it, but for what is equal for all policies: this engine, and room for all.

    No query is refused for want of room, and none has a deadline: what a policy cannot carry must show as latency. The
    share of controls is the gateway's own, for every policy.
    """
    serving: dict[str, Any] = {
        "single": settings.models.single,
        "backup": tuple(_backup_name(settings, source) for source in _backups(settings, policy)) or None,
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
    """The model of this kind; the default one goes with the default single only."""
    models = settings.models
    if source.role.value not in models.model_fields_set and models.single != type(models)().single:
        return None
    name: str | None = getattr(models, source.role.value, None)
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
