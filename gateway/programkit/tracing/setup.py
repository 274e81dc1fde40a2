"""The tracer of a program, as its settings and the environment say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import structlog

from programkit.tracing.spans import NO_TRACER, Tracer

EXPORTER: Final = "OTEL_TRACES_EXPORTER"
"""Environment variable of OpenTelemetry that names the exporter of traces."""

DISABLED: Final = "OTEL_SDK_DISABLED"
"""Environment variable of OpenTelemetry that turns everything off, whatever the other settings."""


class CannotTrace(Exception):
    """The settings ask for traces that cannot be sent; the message names the setting."""


def begin_tracing(program: str, version: str, *, wanted: bool, environment: Mapping[str, str] = os.environ) -> Tracer:
    """Return the tracer of this process. Without traces, nothing of OpenTelemetry is imported.

    Args:
        program: name of the program, the default of ``OTEL_SERVICE_NAME``.
        version: version of the program.
        wanted: whether the settings ask for traces; without them, `EXPORTER` does, if it is set and not ``none``.
        environment: OpenTelemetry's own settings.

    Raises:
        CannotTrace: the settings (not only the environment) ask for traces, and OpenTelemetry is not installed, or
            its own settings are invalid.
    """
    named = environment.get(EXPORTER, "").strip().lower()
    if environment.get(DISABLED, "").strip().lower() == "true" or named == "none" or not (wanted or named):
        return NO_TRACER
    try:
        return _tracer(program, version, named or "otlp", environment)
    except CannotTrace as problem:
        if wanted:
            raise
        # The variables may be set for all programs of a machine, so they are no reason not to start.
        structlog.get_logger("traces").warning("traces", problem=str(problem))
        return NO_TRACER


def _tracer(program: str, version: str, exporter: str, environment: Mapping[str, str]) -> Tracer:
    try:
        # Imported only here: without traces, a program uses less memory, and does not need OpenTelemetry.
        from programkit.tracing.otel import otel_tracer
    except ImportError as error:
        raise CannotTrace(f"--traces or {EXPORTER}: {error.name} is not installed; install the extra [otel]") from None
    return otel_tracer(program, version, exporter, environment)
