"""From settings and policy to what a data plane is made of: models that fit each other, codes, roles, a dispatcher."""

from __future__ import annotations

from pathlib import Path

from collage.codes import BatchCode, Code, make_code
from collage.dispatch import Dispatcher, Policy, Role, Source, WorkerId, worker_roles
from collage.engines import Engine, Hold, LocalEngine, RayEngine, RayOptions
from collage.exceptions import ModelError, SettingsError
from collage.serving._fleet import load_fleet
from collage.serving._fleet_engine import make_fleet
from collage.serving._settings import ServingSettings
from collage.zoo import LoadedModel, check_bound, list_models, load_model, open_session, worker_file

_DRIFT = 0.15  # of agreement lost, by which drift is told from chance and from another mix of images
_USUAL_CAPACITY = 9
_WITHOUT = "policies none, hedge and replicate do without"


def _check_batch(single: LoadedModel) -> None:
    """Raises ModelError unless a call of the single takes any number of images."""
    for tensor in (*(session := open_session(single.path)).get_inputs(), *session.get_outputs()):
        if isinstance(tensor.shape[0], int):
            raise ModelError(
                f"max_batch: a call of {single.card.name} takes {tensor.shape[0]} image ({tensor.name!r} has shape"
                f" {list(tensor.shape)}); export it with a free batch axis, or leave max_batch at 1"
            )


class Parts:
    """Loads and checks the models at once. Raises ModelError and SettingsError."""

    def __init__(self, settings: ServingSettings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self.single = load_model(settings.single)
        if self.single.card.role is not Role.SINGLE:
            raise ModelError(f"{settings.single}: is a {self.single.card.role}; a single is needed here")
        if settings.max_batch > 1:
            _check_batch(self.single)
        self.backups = self._load_backups()
        confident = [model.card.calibration.confident for model in self.backups if model.card.calibration is not None]
        known = [value for value in confident if value is not None]
        if policy.confidence is None and known:
            self._policy = policy.model_copy(update={"confidence": max(known)})

    @property
    def backup(self) -> LoadedModel | None:
        """The first backup model, of the policy's own code where there is one of it."""
        return self.backups[0] if self.backups else None

    def _load_backups(self) -> list[LoadedModel]:
        """The policy's models: of its own code first, by size. Of a choice of codes, those that are there will do."""
        policy, given = self._policy, self._settings.backup
        wanted = [source for source in policy.codes if source.role is not Role.SINGLE]
        if not wanted:
            return []
        if given == "auto":
            found = [self._shipped_backup(source, needed=not policy.among) for source in wanted]
            return [model for model in found if model is not None]
        names = () if given is None else (given,) if isinstance(given, str) else given
        models = [self._load_backup(name, wanted) for name in names]
        roles = [model.card.role for model in models]
        for source in () if policy.among else wanted:
            if source.role not in roles:
                raise SettingsError(f"backup: policy {self._settings.policy!r} needs a {source} model; {_WITHOUT}")
        kinds = [(model.card.role, model.card.capacity) for model in models]
        for name, kind in zip(names, kinds, strict=True):
            if kinds.count(kind) > 1:
                raise SettingsError(f"backup: {name} is a second {kind[0]} of {kind[1]}; one of each size is needed")
        order = [source.role for source in wanted]
        return sorted(models, key=lambda model: (order.index(model.card.role), model.card.capacity))

    def _load_backup(self, name: str, wanted: list[Source]) -> LoadedModel:
        backup = load_model(name)
        if backup.card.role not in {source.role for source in wanted}:
            kinds = " or a ".join(wanted)
            raise SettingsError(
                f"backup: {name} is a {backup.card.role}; policy {self._settings.policy!r} needs a {kinds} model"
            )
        check_bound(self.single, backup)
        return backup

    def _shipped_backup(self, source: Source, *, needed: bool) -> LoadedModel | None:
        """The shipped model of this kind that was made for the single."""
        ours = self.single.card
        found = [
            model
            for model in list_models()
            if model.card.role is source.role and model.card.single_sha256 == ours.sha256
        ]
        if found:  # of several sizes, the paper's own, 3x3, or the smallest
            return min(found, key=lambda model: (model.card.capacity != _USUAL_CAPACITY, model.card.capacity))
        if not needed:
            return None
        raise SettingsError(
            f"backup: no shipped {source} model was made for {ours.name}, and policy {self._settings.policy!r} needs"
            f" one; name a file; {_WITHOUT}"
        )

    def models(self) -> dict[Role, Path | dict[int, Path]]:
        """The ONNX file of each role; of a role that comes in several sizes, the file of each."""
        files: dict[Role, dict[int, Path]] = {}
        for model in (self.single, *self.backups):
            files.setdefault(model.card.role, {})[model.card.capacity] = worker_file(self.single, model)
        return {role: sizes if len(sizes) > 1 else next(iter(sizes.values())) for role, sizes in files.items()}

    def roles(self) -> dict[WorkerId, frozenset[Role]]:
        """Which models each worker runs: w0, w1, ... Raises SettingsError where none is left for singles."""
        there = frozenset(self.models())
        names = [f"w{number}" for number in range(self._settings.workers)]
        return {worker: roles & there for worker, roles in worker_roles(self._policy, names).items()}

    def added_roles(self) -> frozenset[Role]:
        """What a worker runs that joins later: the same as the first."""
        return next(iter(self.roles().values()))

    def engine(self, hold: Hold | None = None) -> Engine:
        """The workers: those of the fleet file, where there is one. hold: of those started here (`LocalEngine`)."""
        settings = self._settings
        limit = settings.hung_seconds
        if settings.fleet is not None:
            return make_fleet(
                load_fleet(settings.fleet), self.single, self.backups, nice=settings.nice, hold=hold, hung_seconds=limit
            )
        models, roles, threads = self.models(), self.roles(), settings.threads
        if settings.engine == "ray":
            options = RayOptions(settings.ray_address, settings.ray_cpus, settings.ray_gpus, settings.ray_start_seconds)
            return RayEngine(models, roles, options=options, threads=threads, hold=hold, hung_seconds=limit)
        return LocalEngine(models, roles, threads=threads, nice=settings.nice, hold=hold, hung_seconds=limit)

    def dispatcher(self) -> Dispatcher:
        """A new dispatcher of the policy."""
        return Dispatcher(
            self._policy,
            capacity=[model.card.capacity for model in self.backups if model.card.capacity > 1] or 1,
            control_share=self._settings.control_share,
            max_queue=self._settings.max_queue,
            max_batch=self._settings.max_batch,
        )

    def least_agreement(self) -> float | None:
        """Share of controls below which the backup is switched off; None: never."""
        least = self._settings.least_agreement
        if self.backup is None:
            return None
        if least != "auto":
            return least
        accuracy = self.backup.card.accuracy
        measured = None if accuracy is None else accuracy.agreement
        return None if measured is None else max(0.0, measured - _DRIFT)

    def single_code(self) -> Code:
        """Decodes what singles and replicas give."""
        return make_code(self.single.card)

    def batch_code(self) -> Code | None:
        """Decodes what one call gives of several singles; None: each has a call of its own."""
        most, card = self._settings.max_batch, self.single.card
        if most == 1:
            return None
        return BatchCode(most, card.preprocessing, len(card.classes), output=card.output, temperature=card.temperature)

    def backup_codes(self) -> list[Code]:
        """The code of each backup model; empty where the policy's backups are replicas, or it makes none."""
        return [make_code(model.card, model.path.parent) for model in self.backups]
