"""Every error that Collage raises on purpose, in one tree.

    CollageError
    ├── InvalidInput            what a client sent; names the field. HTTP 400
    │   ├── InvalidImage        bytes that are no readable image
    │   ├── TooLarge            over a limit on bytes, pixels or images. HTTP 413
    │   └── UnknownModel        no model of that name or version. HTTP 404
    ├── Unauthenticated         no key or certificate, or one that nobody knows. HTTP 401
    ├── Forbidden               a known caller who may not do this. HTTP 403
    ├── Unavailable             the service cannot answer now, and says when to come back. HTTP 503
    │   ├── DeadlineExceeded    no answer within the client's deadline. HTTP 504
    │   └── RateLimited         this tenant has asked for more than it may. HTTP 429
    ├── ModelError              a model file or card that is missing, damaged, or does not fit its partner
    ├── DataMissing             a dataset that is not here; says how to get it
    ├── SettingsError           a setting or experiment file that makes no sense; names the key
    ├── ProcessLost             one of several processes that train together is gone
    └── GatewayError            what a client gets instead of an answer; status, retry_after, request_id
        ├── RequestRefused      what was sent cannot be used (HTTP 4xx): not to be sent again as it is
        ├── NotAllowed          no API key, or one that does not allow this (401, 403)
        ├── GatewayBusy         come back after retry_after (429, 503)
        ├── GatewayTooLate      no answer within the deadline (504), or none at all in time
        └── GatewayUnreachable  nothing answers there, or the connection broke

A message is one line that names the input and, where there is one, the fix. Commands print it without a traceback.
"""

from __future__ import annotations

__all__ = [
    "CollageError",
    "DataMissing",
    "DeadlineExceeded",
    "Forbidden",
    "GatewayBusy",
    "GatewayError",
    "GatewayTooLate",
    "GatewayUnreachable",
    "InvalidImage",
    "InvalidInput",
    "ModelError",
    "NotAllowed",
    "ProcessLost",
    "RateLimited",
    "RequestRefused",
    "SettingsError",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
]


class CollageError(Exception):
    """Base of all errors raised on purpose."""


class InvalidInput(CollageError):
    """What a client sent cannot be used. `field` names the part of the request at fault."""

    status = 400

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class InvalidImage(InvalidInput):
    """Bytes that are no readable image."""


class TooLarge(InvalidInput):
    """Over a limit on bytes, pixels or images."""

    status = 413


class UnknownModel(InvalidInput):
    """No model of that name or version is served."""

    status = 404


class Unauthenticated(CollageError):
    """No key or certificate, or one that nobody knows."""

    status = 401


class Forbidden(CollageError):
    """A known caller who may not do this."""

    status = 403


class Unavailable(CollageError):
    """The service cannot answer now. `retry_after` is in seconds."""

    status = 503

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(Unavailable):
    """No answer within the client's deadline."""

    status = 504


class RateLimited(Unavailable):
    """This tenant has asked for more than it may: too fast, or with too many queries at once."""

    status = 429


class ModelError(CollageError):
    """A model file or card that is missing, damaged, or does not fit its partner."""


class DataMissing(CollageError):
    """A dataset that is not here; the message says how to get it."""


class SettingsError(CollageError):
    """A setting or experiment file that makes no sense; the message names the key."""


class ProcessLost(CollageError):
    """One of several processes that train together is gone, and so the training has ended."""


class GatewayError(CollageError):
    """A gateway gave no answer. status: HTTP's, None where there was none; retry_after: seconds, where it said so."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id


class RequestRefused(GatewayError):
    """What was sent cannot be used; the message names the field."""


class NotAllowed(GatewayError):
    """No API key, or one that does not allow this."""


class GatewayBusy(GatewayError):
    """The gateway cannot answer now: too much is in flight, a limit is reached, or no worker is up."""


class GatewayTooLate(GatewayError):
    """No answer within the deadline."""


class GatewayUnreachable(GatewayError):
    """Nothing answers at the URL, or the connection broke before an answer came. The request may have been received."""
