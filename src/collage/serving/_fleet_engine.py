"""From a fleet file to the engine that runs its workers."""

from __future__ import annotations

from collections.abc import Sequence

from collage.dispatch import Role
from collage.engines import Hold, LocalEngine, MixedEngine, OipEngine, OipOptions, OipServer, RemoteModel, TensorForm
from collage.exceptions import ModelError, SettingsError
from collage.serving._fleet import Fleet, FleetRole, RemoteNames
from collage.zoo import LoadedModel, open_session, worker_file


def make_fleet(
    fleet: Fleet,
    single: LoadedModel,
    backups: Sequence[LoadedModel],
    *,
    nice: int = 0,
    hold: Hold | None = None,
    hung_seconds: float | None = None,
) -> MixedEngine:
    """The engine of all workers in a fleet file. backups: one of each role. nice, hold, hung_seconds: of local
    workers (`LocalEngine`).

    Raises SettingsError that names the key, where a URL makes no sense, or nobody could run the single or a backup.
    """
    loaded = {model.card.role: model for model in (single, *backups)}
    if len(loaded) <= len(backups):
        raise SettingsError(f"backup: a fleet runs one backup model of each role; here are {_named(backups)}")
    engines: list[LocalEngine | OipEngine] = []
    covered: set[Role] = set()
    first = 0
    for number, local in enumerate(fleet.local):
        roles = _roles(local.roles, backups, f"local.{number}")
        names = {f"w{first + index}": roles for index in range(local.workers)}
        first += local.workers
        files = {role: worker_file(single, loaded[role]) for role in roles}
        engines.append(
            LocalEngine(files, names, threads=local.threads, nice=nice, hold=hold, hung_seconds=hung_seconds)
        )
        covered |= roles
    servers: list[OipServer] = []
    for number, remote in enumerate(fleet.remote):
        roles = _roles(remote.roles, backups, f"remote.{number}")
        if remote.backup is not None and remote.backup.model is not None and len(backups) > 1:
            raise SettingsError(f"fleet: remote.{number}.backup: there are {_named(backups)}; say backups.ROLE of each")
        models = {role: _remote_model(single, loaded[role], remote.names(role)) for role in roles}
        options = OipOptions.model_validate(remote.model_dump(include=set(OipOptions.model_fields)))
        servers += [OipServer(url, models, options) for url in remote.urls]
        covered |= roles
    if Role.SINGLE not in covered:
        raise SettingsError("fleet: roles: no worker runs the single")
    for backup in backups:
        if backup.card.role not in covered:
            raise SettingsError(f"fleet: roles: no worker runs the backup {backup.card.name}; policy 'none' has none")
    if servers:
        engines.append(OipEngine(servers))
    return MixedEngine(engines)


def _named(models: Sequence[LoadedModel]) -> str:
    return " and ".join(model.card.name for model in models)


def _roles(named: Sequence[FleetRole], backups: Sequence[LoadedModel], key: str) -> frozenset[Role]:
    """Where the policy has no backup model, whoever may run it is left with the rest."""
    roles = {Role.SINGLE} if "single" in named else set()
    if "backup" in named:
        roles |= {backup.card.role for backup in backups}
    if not roles:
        raise SettingsError(f"fleet: {key}.roles: only a backup, and the policy has none with a model of its own")
    return frozenset(roles)


def _remote_model(single: LoadedModel, model: LoadedModel, names: RemoteNames) -> RemoteModel:
    path = worker_file(single, model)
    session = open_session(path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path}: one input and one output are needed; it has {len(inputs)} and {len(outputs)}")
    own = single if model.card.role is Role.LEARNED else model  # whose file it is
    return RemoteModel(
        name=names.model or own.card.name,
        version=names.version,
        input=TensorForm(names.input or inputs[0].name, _sizes(inputs[0].shape)),
        output=TensorForm(names.output or outputs[0].name, _sizes(outputs[0].shape)),
    )


def _sizes(shape: Sequence[object]) -> tuple[int, ...] | None:
    """An ONNX file's shape, in which an open size is a name or nothing."""
    return tuple(size if isinstance(size, int) and size > 0 else -1 for size in shape) or None
