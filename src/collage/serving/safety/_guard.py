"""Who is asking, and may they?

| need     | who has it                                                                           |
|----------|--------------------------------------------------------------------------------------|
| anyone   | whoever can connect: health, for probes and load balancers                           |
| tenant   | a tenant, by key or client certificate: models, and what is asked of them            |
| monitor  | a monitor's key, or an admin's: metrics, the first page and its status               |
| picture  | an admin's key: pictures of clients' images, and the demo's button                   |
| admin    | an admin's key: switches, and the number of workers                                  |

Where no tenant is set, whoever can connect is the one tenant. The last three are the operator's. Where no key for them
is set, they are open to callers on this machine; to others only while no tenants are set either, and never the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

from collage.exceptions import Forbidden, Unauthenticated
from collage.serving.safety._keys import KeyRing
from collage.serving.safety._settings import TenantSettings
from collage.serving.safety._tenants import Tenant

if TYPE_CHECKING:
    from collage.serving._settings import ServingSettings

_UNLIMITED = 2**31


class Need(IntEnum):
    """What a caller must be."""

    ANYONE = 0
    TENANT = 1
    MONITOR = 2
    PICTURE = 3
    ADMIN = 4


class Guard:
    """The keys and tenants of one gateway. Event loop's thread only.

    `denied` counts those who were turned away: without a key, with an unknown one, or with one that is not enough.
    """

    def __init__(self, settings: ServingSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """Settings have been checked: no key or certificate has two owners."""
        several = len(settings.tenants) > 1
        most = max(settings.max_queue // 2, settings.max_images) if several else _UNLIMITED
        self.tenants = {
            name: Tenant(name, tenant, most=most, burst=settings.max_images, clock=clock)
            for name, tenant in settings.tenants.items()
        }
        self.everyone = Tenant("", TenantSettings.model_validate({}), most=_UNLIMITED, burst=1, clock=clock)
        self.denied = {"missing": 0, "unknown": 0, "forbidden": 0}
        owners: list[tuple[str, Tenant | Need]] = [
            (key, self.tenants[name]) for name, tenant in settings.tenants.items() for key in tenant.keys
        ]
        owners += [(key, Need.MONITOR) for key in settings.monitor_keys]
        owners += [(key, Need.ADMIN) for key in settings.admin_keys]
        self._keys: KeyRing[Tenant | Need] = KeyRing(owners)
        self._certificates = {
            subject: self.tenants[name] for name, tenant in settings.tenants.items() for subject in tenant.certificates
        }
        self._operators = bool(settings.monitor_keys or settings.admin_keys)

    def asks(self, need: Need) -> bool:
        """Whether it matters who calls. Where it does not, all are `everyone`."""
        return not (need is Need.ANYONE or (need is Need.TENANT and not self.tenants))

    def admit(self, need: Need, key: str | None, certificate: Iterable[str] = (), *, near: bool = False) -> Tenant:
        """The caller's tenant, where it has what is needed; of an operator and of anyone: `everyone`.

        key: as presented; certificate: the names in a verified client certificate; near: the caller is on this machine.
        Raises Unauthenticated and Forbidden.
        """
        if need is Need.ANYONE:
            return self.everyone
        if need is Need.TENANT:
            return self._tenant(key, certificate) if self.tenants else self.everyone
        self._operator(need, key, near)
        return self.everyone

    def _tenant(self, key: str | None, certificate: Iterable[str]) -> Tenant:
        named = next((self._certificates[name] for name in certificate if name in self._certificates), None)
        if key is None:
            if named is None:
                raise self._deny(
                    "missing", "a key is needed: Authorization: Bearer KEY, or X-API-Key (or a client certificate)"
                )
            return named
        owner = self._keys.owner(key)
        if owner is None:
            raise self._deny("unknown", "this key is not known here")
        if not isinstance(owner, Tenant):
            raise self._deny("forbidden", "an operator's key; a tenant's is needed here")
        if named not in (None, owner):
            raise self._deny("unknown", "the key and the client certificate are of different tenants")
        return owner

    def _operator(self, need: Need, key: str | None, near: bool) -> None:
        if not self._operators:
            if (self.tenants or need is Need.ADMIN) and not near:
                raise self._deny("forbidden", "only from the gateway's own machine, as no admin_keys are set")
            return
        owner = None if key is None else self._keys.owner(key)
        if key is None:
            raise self._deny("missing", f"{_with_article(need)} key is needed")
        if owner is None:
            raise self._deny("unknown", "this key is not known here")
        if isinstance(owner, Tenant) or owner < need:
            raise self._deny("forbidden", f"{_with_article(need)} key is needed; this is another one")

    def _deny(self, why: str, message: str) -> Unauthenticated | Forbidden:
        self.denied[why] += 1
        return Forbidden(message) if why == "forbidden" else Unauthenticated(message)


def _with_article(need: Need) -> str:
    return "a monitor's" if need is Need.MONITOR else "an admin's"
