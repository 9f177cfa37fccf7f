"""Everything an operator can set of the gateway, one field each: description, range, default.

A value is looked for in four places; the first that has it wins:

    1. flags of `collage serve`                     --port 9000
    2. the environment                              COLLAGE_SERVE_PORT=9000
    3. a TOML file                                  port = 9000
    4. the default below

Keys that no field knows are refused, wherever they come from: a misspelt limit is worse than none.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as _SourceError

from collage.dispatch import Scaling
from collage.exceptions import SettingsError
from collage.files import BAD_TOML, shortened
from collage.serving._http_near import is_loopback
from collage.serving._model_settings import ModelSettings
from collage.serving._setting_types import (
    OptionalCount,
    OptionalLevel,
    OptionalNames,
    OptionalPath,
    OptionalPort,
    OptionalSeconds,
    OptionalText,
    OptionalUrl,
)
from collage.serving.safety import Digest, TenantName, TenantSettings, check_owners

_WINDOW_SECONDS = 10.0  # over which the load is measured

ENV_PREFIX = "COLLAGE_SERVE_"

LogLevel = Literal["critical", "error", "warning", "info", "debug"]
LogFormat = Literal["text", "json"]


class ServingSettings(BaseSettings):
    """Settings of one gateway. Immutable; seconds and bytes throughout."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

    # Where it listens
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 picks a free one and prints it")
    grpc_port: OptionalPort = Field(
        None, ge=0, le=65535, description="TCP port of the same protocol over gRPC; 0 picks a free one; 'none': no gRPC"
    )

    # What it serves
    single: str = Field("fashion-mnist-single", min_length=1, description="the single: a shipped name or a path")
    backup: OptionalNames = Field(
        "auto",
        description="the backup model: a shipped name, a path, 'none', or 'auto': the shipped ones of the policy's "
        "kinds; several, as a list or with commas between them, where the policy takes several kinds or sizes",
    )
    engine: Literal["local", "ray"] = Field(
        "local", description="what runs the workers: `local`, processes here; `ray`, actors on a Ray cluster (fleet.md)"
    )
    workers: int = Field(4, ge=1, le=256, description="workers; each holds the single and the backup")
    max_workers: OptionalCount = Field(
        None, ge=1, le=256, description="workers follow the load, up to so many; 'none': there are always `workers`"
    )
    min_workers: int = Field(1, ge=1, le=256, description="the fewest workers, where they follow the load")
    target_utilisation: float = Field(
        0.6, ge=0.05, le=1.0, description="share of the workers' time that singles should take, where they follow it"
    )
    scale_down_seconds: float = Field(
        60.0, ge=1, le=86_400, description="fewer workers only where for so long no more were needed"
    )
    threads: int = Field(1, ge=1, le=64, description="threads of one worker's model runtime")
    nice: int = Field(
        5, ge=0, le=19, description="of local workers: how far the system puts them behind the gateway's own process"
    )
    fleet: OptionalPath = Field(
        None, description="TOML file that names the workers, some here, some on remote servers; instead of `workers`"
    )
    ray_address: OptionalText = Field(
        None, description="HOST:PORT of the Ray cluster, of which this machine is a node; 'none': one of its own, here"
    )
    ray_cpus: float = Field(1.0, ge=0, le=1024, description="CPUs that a worker takes of its Ray node, in Ray's count")
    ray_gpus: float = Field(
        0.0, ge=0, le=64, description="GPUs that a worker takes of its Ray node; it needs ONNX Runtime with CUDA there"
    )
    ray_start_seconds: float = Field(
        60.0, gt=0, le=3600, description="seconds that a worker has to be placed on a Ray node and to load its models"
    )

    max_batch: int = Field(
        1,
        ge=1,
        le=256,
        description="singles that wait may share a call, up to so many, if the single has a free batch axis; for a GPU",
    )
    models: tuple[ModelSettings, ...] = Field(
        (), description="further models, a `[[models]]` table each, beside the one above (servers.md)"
    )

    # How it decides
    policy: str = Field("auto", min_length=1, description="name of a policy preset")
    policy_overrides: dict[str, Any] = Field(
        default_factory=dict, description="settings of the policy that differ from the preset's, by name"
    )
    control_share: float = Field(
        0.01, ge=0.0, le=1.0, description="share of queries whose losers run to the end, to measure without bias"
    )
    least_agreement: OptionalLevel = Field(
        "auto",
        description="share of the last 200 controls in which single and backup must agree, or the backup is switched"
        " off; 'auto': 0.15 below what its card measured, where it did; 'none': never",
    )

    # What it takes
    max_queue: int = Field(256, ge=1, le=100_000, description="queries without an answer; beyond it 503")
    max_images: int = Field(64, ge=1, le=10_000, description="images in one request")
    max_body_bytes: int = Field(32 * 2**20, ge=1024, le=2**31, description="bytes of one request's body")
    max_json_bytes: int = Field(
        4 * 2**20, ge=1024, le=2**31, description="bytes of one request's JSON; while it is parsed all others wait"
    )
    max_image_bytes: int = Field(10 * 2**20, ge=64, le=2**31, description="bytes of one encoded image")
    max_image_pixels: int = Field(40_000_000, ge=1, le=1_000_000_000, description="width x height of one image")
    max_held_bytes: int = Field(
        512 * 2**20, ge=1024, le=2**40, description="bytes of all bodies held at once; beyond it 503"
    )
    max_connections: int = Field(1000, ge=1, le=100_000, description="open connections; beyond it 503")
    head_seconds: float = Field(10.0, gt=0, le=3600, description="time a client has to send a request's headers")
    body_seconds: float = Field(30.0, gt=0, le=3600, description="time a client has to send a request's body")
    write_seconds: float = Field(
        30.0, gt=0, le=3600, description="time a client may leave answers unread before its connection is cut"
    )
    keep_alive_seconds: float = Field(75.0, gt=0, le=3600, description="time an idle connection is kept open")

    # How long it takes
    default_deadline: OptionalSeconds = Field(
        10.0, gt=0, le=3600, description="seconds a query may take where the client names no deadline; 'none': no limit"
    )
    max_deadline: float = Field(60.0, gt=0, le=3600, description="the longest deadline a client may ask for, seconds")
    hung_seconds: float = Field(
        30.0, gt=0, le=3600, description="a worker whose job runs longer is killed and started again"
    )
    drain_seconds: float = Field(
        10.0, ge=0, le=600, description="seconds that accepted queries have to finish after SIGTERM"
    )

    # Who may call
    tenants: dict[TenantName, TenantSettings] = Field(
        default_factory=dict,
        description="who may ask, by name: keys, certificates, limits; none: whoever can connect (security.md)",
    )
    admin_keys: tuple[Digest, ...] = Field((), description="digests of the keys that may do all but classify")
    monitor_keys: tuple[Digest, ...] = Field((), description="digests of the keys that may read metrics and status")
    tls_certificate: OptionalPath = Field(
        None, description="PEM file of the gateway's certificate and its chain: HTTPS, and TLS for gRPC; 'none': plain"
    )
    tls_key: OptionalPath = Field(None, description="PEM file of its private key")
    tls_client_ca: OptionalPath = Field(
        None, description="PEM file of those who sign clients' certificates; 'none': clients need none"
    )
    tls_clients: Literal["required", "optional"] = Field(
        "required", description="whether each client must have a certificate of `tls_client_ca`, or only may"
    )
    open: bool = Field(False, description="listen for other machines even where neither key nor certificate is needed")

    # How it is watched
    demo: bool = Field(False, description="let a visitor of the first page make a worker straggle")
    show_collages: bool | None = Field(
        None,
        description="show the last collage, which holds clients' images, to whoever opens the first page; by default "
        "only where no other machine can, or in a demo",
    )
    log_level: LogLevel = Field(
        "info", description="least severe message that is logged; info: a line for each request, warning: none"
    )
    log_format: LogFormat = Field("text", description="lines of the log: text, or json: an object each")
    otlp_endpoint: OptionalUrl = Field(
        None, description="URL of an OpenTelemetry collector that takes traces (OTLP over HTTP); 'none': no traces"
    )
    trace_share: float = Field(
        1.0, ge=0.0, le=1.0, description="share of the requests that are traced, where their callers do not say"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.default_deadline is not None and self.default_deadline > self.max_deadline:
            raise ValueError(
                f"default_deadline ({self.default_deadline:g} s) must be at most max_deadline ({self.max_deadline:g} s)"
            )
        if self.max_body_bytes > self.max_held_bytes:
            raise ValueError(
                f"max_body_bytes ({self.max_body_bytes}) must be at most max_held_bytes ({self.max_held_bytes})"
            )
        ray = self.model_fields_set & {"ray_address", "ray_cpus", "ray_gpus", "ray_start_seconds"}
        if ray and self.engine != "ray":
            raise ValueError(f"{min(ray)}: the engine is {self.engine}; say engine = 'ray', too")
        self._fits_workers(self.model_fields_set)
        for number, table in enumerate(self.models):
            try:
                self.of_model(table)
            except ValueError as error:
                raise ValueError(f"models.{number}.{error}") from None
        check_owners(self.tenants, operators={"admin_keys": self.admin_keys, "monitor_keys": self.monitor_keys})
        self._fits_tls()
        certified = self.tls_client_ca is not None and self.tls_clients == "required"
        if not (self.tenants or certified or self.open or self.local):
            raise ValueError(
                f"host: {self.host} lets other machines connect, and whoever does may ask: set tenants"
                " (collage key new NAME) or tls_client_ca, or say open = true"
            )
        return self

    @property
    def scaling(self) -> Scaling | None:
        """How the workers follow the load; None: they do not."""
        if self.max_workers is None:
            return None
        window = min(_WINDOW_SECONDS, self.scale_down_seconds)
        return Scaling(self.min_workers, self.max_workers, self.target_utilisation, window, self.scale_down_seconds)

    def of_model(self, table: ModelSettings, *, own: bool = False) -> ServingSettings:
        """With a table's settings in place of these, to serve its model by.

        own: these are that model's settings already, so that all that the table leaves out stays as it is; otherwise
        the backup is found by its own, and the workers are local. Raises ValueError where they do not go together.
        """
        given = table.model_dump(include=table.model_fields_set & set(type(self).model_fields))
        changes: dict[str, Any] = {"models": ()}
        if not own:
            changes |= {"backup": "auto", "fleet": None, "max_workers": None, "min_workers": 1}
        if "policy" in given:
            changes["policy_overrides"] = {}  # they were the other policy's
        found = self.model_copy(update=changes | given)
        found._fits_workers(table.model_fields_set)
        return found

    def _fits_workers(self, given: set[str]) -> None:
        """given: the settings that were set beside a fleet."""
        if self.max_workers is not None and not self.min_workers <= self.workers <= self.max_workers:
            raise ValueError(
                f"workers ({self.workers}) must be from min_workers ({self.min_workers}) to max_workers"
                f" ({self.max_workers})"
            )
        also = given & {"workers", "threads", "max_workers", "engine"}
        if self.fleet is not None and also:
            raise ValueError(f"{min(also)}: the fleet file says so of each worker; leave one of the two out")
        if self.max_images > self.max_queue:
            raise ValueError(f"max_images ({self.max_images}) must be at most max_queue ({self.max_queue})")

    def _fits_tls(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_key: a certificate and its key belong together; one of the two is not set")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca: clients show certificates only over TLS; set tls_certificate, too")
        named = [name for name, tenant in self.tenants.items() if tenant.certificates]
        if named and self.tls_client_ca is None:
            raise ValueError(f"tenants.{named[0]}.certificates: nobody checks them; set tls_client_ca, too")

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def collages_shown(self) -> bool:
        """Whether the first page has the last collage."""
        if self.show_collages is not None:
            return self.show_collages
        return self.demo or self.local

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, TOML file; no dotenv, no secret folders."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load_settings(config: Path | None = None, **flags: Any) -> ServingSettings:
    """Settings from flags (None: not given), environment, TOML file and defaults, in this order.

    Raises SettingsError, one line that names the key, for unknown keys, bad values and an unreadable file.
    """
    if config is not None:
        _check_file(config)
    _check_names([name for name in os.environ if name.startswith(ENV_PREFIX)], "the environment", ENV_PREFIX)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return _with_file(config)(**given)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None
    except _SourceError as error:  # a table in the environment that is no JSON
        raise SettingsError(str(error)) from None


def _with_file(config: Path | None) -> type[ServingSettings]:
    """pydantic-settings takes the file's path from the class."""
    if config is None:
        return ServingSettings

    class FromFile(ServingSettings):
        model_config = SettingsConfigDict(toml_file=config)

    return FromFile


def _check_file(config: Path) -> None:
    try:
        with config.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read ({error.strerror})") from None
    except BAD_TOML as error:
        raise SettingsError(f"{config}: not valid TOML ({error})") from None
    _check_names(content, str(config))


def _check_names(names: Iterable[str], where: str, prefix: str = "") -> None:
    for name in names:
        key = name.removeprefix(prefix).lower() if prefix else name
        if key not in ServingSettings.model_fields:
            close = difflib.get_close_matches(key, ServingSettings.model_fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"{shortened(name)}: no such setting (in {where}){hint}")


def _one_line(error: ValidationError) -> str:
    """The first thing that is wrong, named, in one line."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return shortened(message)
    key = ".".join(str(part) for part in first["loc"])
    message = message[:1].lower() + message[1:]
    if {"keys", "admin_keys", "monitor_keys"} & set(first["loc"]):  # never what was put there: it may be a key
        return shortened(f"{key}: {message}")
    return shortened(f"{key}: {message} (got {first['input']!r})")
