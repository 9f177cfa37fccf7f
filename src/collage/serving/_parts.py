"""From settings and policy to what a data plane is made of: models that fit each other, codes, roles, a dispatcher."""

from __future__ import annotations

from pathlib import Path

from collage.codes import Code, make_code
from collage.dispatch import Dispatcher, Policy, Role, Source, WorkerId, worker_roles
from collage.engines import Engine, Hold, LocalEngine
from collage.exceptions import ModelError, SettingsError
from collage.serving._fleet import load_fleet
from collage.serving._fleet_engine import make_fleet
from collage.serving._settings import ServingSettings
from collage.zoo import LoadedModel, check_bound, list_models, load_model, worker_file

_WITHOUT = "policies none, hedge and replicate do without"


class Parts:
    """Loads and checks the models at once. Raises ModelError and SettingsError."""

    def __init__(self, settings: ServingSettings, policy: Policy) -> None:
        self._settings = settings
        self._policy = policy
        self.single = load_model(settings.single)
        if self.single.card.role is not Role.SINGLE:
            raise ModelError(f"{settings.single}: is a {self.single.card.role}; a single is needed here")
        self.backup: LoadedModel | None = None
        source = policy.code
        if source is not None and source.role is not Role.SINGLE:
            self.backup = self._load_backup(source)
            calibration = self.backup.card.calibration
            if policy.confidence is None and calibration is not None and calibration.confident is not None:
                self._policy = policy.model_copy(update={"confidence": calibration.confident})

    def _load_backup(self, source: Source) -> LoadedModel:
        name = self._settings.backup
        if name is None:
            raise SettingsError(f"backup: policy {self._settings.policy!r} needs a {source} model; {_WITHOUT}")
        if name == "auto":
            return self._shipped_backup(source)
        backup = load_model(name)
        if backup.card.role is not source.role:
            raise SettingsError(
                f"backup: {name} is a {backup.card.role}; policy {self._settings.policy!r} needs a {source} model"
            )
        check_bound(self.single, backup)
        return backup

    def _shipped_backup(self, source: Source) -> LoadedModel:
        """The shipped model of this kind that was made for the single."""
        ours = self.single.card
        for model in list_models():
            if model.card.role is source.role and model.card.single_sha256 == ours.sha256:
                return model
        raise SettingsError(
            f"backup: no shipped {source} model was made for {ours.name}, and policy {self._settings.policy!r} needs"
            f" one; name a file; {_WITHOUT}"
        )

    def models(self) -> dict[Role, Path]:
        """The ONNX file of each role."""
        loaded = [self.single] if self.backup is None else [self.single, self.backup]
        return {model.card.role: worker_file(self.single, model) for model in loaded}

    def roles(self) -> dict[WorkerId, frozenset[Role]]:
        """Which models each worker runs: w0, w1, ... Raises SettingsError where none is left for singles."""
        return worker_roles(self._policy, [f"w{number}" for number in range(self._settings.workers)])

    def engine(self, hold: Hold | None = None) -> Engine:
        """The workers: those of the fleet file, where there is one. hold: of local ones (`LocalEngine`)."""
        settings = self._settings
        limit = settings.hung_seconds
        if settings.fleet is not None:
            fleet = load_fleet(settings.fleet)
            return make_fleet(fleet, self.single, self.backup, hold=hold, hung_seconds=limit)
        return LocalEngine(self.models(), self.roles(), threads=settings.threads, hold=hold, hung_seconds=limit)

    def dispatcher(self) -> Dispatcher:
        """A new dispatcher of the policy."""
        return Dispatcher(
            self._policy,
            capacity=1 if self.backup is None else self.backup.card.capacity,
            control_share=self._settings.control_share,
            max_queue=self._settings.max_queue,
        )

    def single_code(self) -> Code:
        """Decodes what singles and replicas give."""
        return make_code(self.single.card)

    def backup_code(self) -> Code | None:
        """The policy's code; None where its backups are replicas, or it makes none."""
        return None if self.backup is None else make_code(self.backup.card, self.backup.path.parent)
