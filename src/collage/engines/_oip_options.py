"""How remote servers of the Open Inference Protocol are talked to: what an operator can set of each group of them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collage.exceptions import SettingsError


class TlsOptions(BaseModel):
    """How a server proves who it is, and how we do. Files are PEM."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = Field(default=None, description="certificates to trust; absent: the system's")
    certificate: Path | None = Field(default=None, description="our own certificate, for servers that ask for one")
    key: Path | None = Field(default=None, description="its private key")
    verify: bool = Field(default=True, description="false: talk to anybody (HTTP only); for tests")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self

    def context(self) -> ssl.SSLContext:
        """For HTTP. Raises SettingsError for files that are missing or no such thing."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # an SSLError is one
            raise SettingsError(f"tls: a file of it cannot be used ({error})") from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def read(self, name: Literal["ca", "certificate", "key"]) -> bytes | None:
        """A file's bytes, for gRPC. Raises SettingsError."""
        path: Path | None = getattr(self, name)
        try:
            return None if path is None else path.read_bytes()
        except OSError as error:
            raise SettingsError(f"tls.{name}: {path} cannot be read ({error.strerror})") from None


class OipOptions(BaseModel):
    """One group of servers. Immutable; seconds and bytes throughout.

    A worker is a server with `slots` jobs at a time. Behind a URL that stands for many machines (a load balancer, a
    Kubernetes service) it cannot be: with `balanced`, each slot is a worker of its own. What that costs: no worker is
    one machine, so a machine that is slow or broken is in no worker's record; a query that is sent again may meet the
    machine it fled; and readiness says that some machine is ready, not which.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: int = Field(default=1, ge=1, le=1024, description="jobs that a server is given at a time")
    balanced: bool = Field(default=False, description="the URL stands for many machines: each slot is a worker")
    max_batch: int = Field(
        default=1, ge=1, le=1024, description="singles that start at the same moment may share a call, up to so many"
    )
    timeout: float = Field(default=30.0, gt=0, le=3600, description="a call without its whole answer by then fails")
    connect_timeout: float = Field(default=2.0, gt=0, le=600, description="time for a connection, TLS included")
    probe_interval: float = Field(default=1.0, gt=0, le=600, description="between two looks at a server's readiness")
    probe_timeout: float = Field(default=2.0, gt=0, le=600, description="time for one such look")
    probe_failures: int = Field(
        default=2, ge=1, le=100, description="looks without any answer, in a row, after which a server is down"
    )
    cancel: Literal["nothing", "close"] = Field(
        default="nothing",
        description="of a call that nobody needs: let it run; or close it and count its slot as free, which is right "
        "only for servers that stop working then",
    )
    encoding: Literal["auto", "json", "binary"] = Field(
        default="auto", description="HTTP: tensors as JSON or as bytes; auto: bytes where the server says it takes them"
    )
    max_response_bytes: int = Field(default=16 * 2**20, ge=1024, le=2**31, description="a longer answer has failed")
    headers: dict[str, str] = Field(default_factory=dict, description="sent with each call (gRPC: metadata)")
    headers_env: dict[str, str] = Field(
        default_factory=dict, description="the same, by the name of the environment variable that holds the value"
    )
    tls: TlsOptions | None = Field(default=None, description="for https and grpcs")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_batch > self.slots:
            raise ValueError(f"max_batch: {self.max_batch} singles cannot share a call of {self.slots} slots")
        if self.max_batch > 1 and self.balanced:
            raise ValueError("max_batch: slots that are workers of their own share no call; leave balanced out")
        for name, value in self.headers.items():
            if not (name.isascii() and name.isprintable() and value.isprintable()):
                raise ValueError(f"headers.{name[:40]!r}: is no header")
        return self

    def all_headers(self) -> dict[str, str]:
        """Both kinds. Raises SettingsError for an environment variable that is not set."""
        found = dict(self.headers)
        for name, variable in self.headers_env.items():
            if variable not in os.environ:
                raise SettingsError(f"headers_env.{name}: the environment has no {variable}")
            found[name] = os.environ[variable]
        return found
