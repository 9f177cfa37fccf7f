"""TLS on the gateway's own listeners: one certificate for HTTP and gRPC, and clients' certificates where wanted.

A certificate that is renewed on disk is taken up without a restart: gRPC asks with each handshake, HTTP's context is
looked after every minute.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from collage.exceptions import SettingsError

if TYPE_CHECKING:
    from collage.serving._settings import ServingSettings

_LOOK_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Tls:
    """The certificate, its key, and whom clients' certificates must come from.

    context: for HTTP; TLS 1.2 or later. Raises SettingsError where a file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None, *, required: bool) -> None:
        self._certificate, self._key, self._ca = certificate, key, client_ca
        self._required = required and client_ca is not None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._state()
        try:
            self.context.load_cert_chain(certificate, key)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise SettingsError(f"tls_certificate: {certificate} and {key} cannot be used ({_why(error)})") from None
        if client_ca is not None:
            try:
                self.context.load_verify_locations(client_ca)
            except (OSError, ValueError) as error:
                raise SettingsError(f"tls_client_ca: {client_ca} cannot be used ({_why(error)})") from None
            self.context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

    @classmethod
    def of(cls, settings: ServingSettings) -> Self | None:
        """As the settings say; None: plain connections."""
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        return cls(
            settings.tls_certificate,
            settings.tls_key,
            settings.tls_client_ca,
            required=settings.tls_clients == "required",
        )

    def renew(self) -> bool:
        """Whether the files have changed and are in use now. Files that do not fit each other (yet) change nothing."""
        state = self._state()
        if state == self._seen:
            return False
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
            self.context.load_cert_chain(self._certificate, self._key)
        except (OSError, ValueError) as error:
            _log.warning("%s: changed, and cannot be used (%s); the old one stays", self._certificate, _why(error))
            return False
        self._seen = state
        _log.info("%s: renewed", self._certificate)
        return True

    async def look_after(self) -> None:
        """Renews for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.renew()

    def grpc_credentials(self) -> Any:
        """The same for a gRPC server, which can ask for clients' certificates only where they are required."""
        import grpc  # noqa: PLC0415 - not everybody serves it

        seen = self._state()

        def configuration() -> Any:
            ca = self._ca.read_bytes() if self._required and self._ca is not None else None
            pair = (self._key.read_bytes(), self._certificate.read_bytes())
            return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)

        def renewed() -> Any:
            nonlocal seen
            state = self._state()
            if state == seen:
                return None
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
                changed = configuration()
            except (OSError, ValueError):
                return None
            seen = state
            return changed

        return grpc.dynamic_ssl_server_credentials(configuration(), renewed, self._required)

    def _state(self) -> tuple[object, ...]:
        """What changes when a file does."""
        found = []
        for path in (self._certificate, self._key):
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)


def certificate_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The names in a verified certificate, as `ssl` gives it: the subject's common name, DNS and URI alternatives."""
    if not certificate:
        return ()
    common = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    others = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI")]
    return (*common, *others)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
