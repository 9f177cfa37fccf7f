"""What the settings say of one tenant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from collage.serving.safety._keys import check_digest

Digest = Annotated[str, AfterValidator(check_digest)]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a tenant's name has letters, digits, '.', '_' and '-', at most 64, a letter or digit first")
    return name


TenantName = Annotated[str, AfterValidator(_check_name)]


class TenantSettings(BaseModel):
    """One tenant: how it is known, and what it may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Digest, ...] = Field((), description="digests of its keys; several while one is being replaced")
    certificates: tuple[str, ...] = Field(
        (), description="common or alternative names (DNS, URI) by which its client certificates are known"
    )
    queries_per_second: float | None = Field(
        None, gt=0, le=1e6, description="queries a second in the long run; beyond it 429; left out: no limit"
    )
    burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="queries at once after a pause; by default a second's worth, and `max_images` at least",
    )
    max_in_flight: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="its queries without an answer; by default half of `max_queue` where there are other tenants",
    )
    shares_collages: bool = Field(
        False, description="its images may lie in one collage with those of others who allow it too"
    )


def check_owners(tenants: Mapping[str, TenantSettings], operators: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError where a key or a certificate has two owners, or a tenant has neither."""
    keys: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, tenant in tenants.items():
        if not tenant.keys and not tenant.certificates:
            raise ValueError(f"tenants.{name}: has neither keys nor certificates, so nobody could ever be it")
        _own(keys, tenant.keys, f"tenants.{name}", "key")
        _own(names, tenant.certificates, f"tenants.{name}", "certificate")
    for setting, values in operators.items():
        _own(keys, values, setting, "key")


def _own(owners: dict[str, str], values: Iterable[str], owner: str, what: str) -> None:
    for value in values:
        other = owners.setdefault(value, owner)
        if other != owner:
            raise ValueError(f"{owner}: a {what} of its is {other}'s, too")
