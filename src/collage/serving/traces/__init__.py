"""OpenTelemetry traces: a span for each query, below it one for each job that it was in, so that one sees which won.

Off unless `otlp_endpoint` is set: then nothing here is made, and the package it needs is not even imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collage.exceptions import SettingsError
from collage.serving.traces._state import TracesState

if TYPE_CHECKING:
    from collage.serving._settings import ServingSettings
    from collage.serving.traces._traces import Traces

__all__ = ["TracesState", "make_traces"]


def make_traces(settings: ServingSettings) -> Traces | None:
    """None where no endpoint is set. Raises SettingsError where the extra is not installed."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from collage.serving.traces._traces import Traces as Made  # noqa: PLC0415 - the extra is not everywhere
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise SettingsError(
            f"otlp_endpoint: {missing} is not installed: pip install 'collage-inference[otel]'"
        ) from None
    return Made(settings.otlp_endpoint, settings.trace_share)
