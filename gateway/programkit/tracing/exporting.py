"""Sends spans in the background: neither a call nor the end of the program waits for the receiver."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from programkit.rate_limited_log import RateLimitedLog
from programkit.secrets import redacted
from programkit.tracing.setup import EXPORTER, CannotTrace

_CLOSE_SECONDS: Final = 1.0
"""Maximum seconds to send the last spans at the end of the program."""

_LONGEST: Final = 300
"""Maximum characters of a problem in the log."""

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_OF_PROTOCOL: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


class Export:
    """The exporter, and a bounded queue of spans before it. A full queue drops spans."""

    def __init__(self, exporter: str, environment: Mapping[str, str]) -> None:
        """Create it; the library reads the exporter's settings and the bounds of the queue from the process.

        Raises:
            CannotTrace: the exporter is unknown, or its settings are invalid.
        """
        try:
            self._exporter = _exporter(exporter, environment)
            self.processor = BatchSpanProcessor(self._exporter)
        except (ValueError, OSError) as error:
            raise CannotTrace(f"OTEL_EXPORTER_OTLP_... or OTEL_BSP_...: {redacted(str(error))}") from None
        logger, self._complaints = logging.getLogger("opentelemetry"), Complaints()
        logger.handlers[:] = [self._complaints]
        # Otherwise the library's records, several per failed request, would be lines of our log too.
        logger.propagate = False

    async def close(self) -> None:
        """Send the waiting spans, for at most a second: the receiver may hang."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self.processor.shutdown()  # type: ignore[no-untyped-call] # the library has no types here
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(closed.set)

        # A daemon thread, unlike those of asyncio.to_thread, for which the end of the event loop would wait.
        threading.Thread(target=close, name="end-of-traces", daemon=True).start()
        is_late = False
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            structlog.get_logger("traces").warning("traces", problem="the last spans could not be sent in time")
            is_late = True
        # What the library still says, in its own threads, must not follow the last line of the log.
        self._complaints.setLevel(logging.CRITICAL + 1)
        if is_late:  # otherwise the library's thread would go on trying
            threading.Thread(target=self._exporter.shutdown, name="end-of-exporter", daemon=True).start()


class Complaints(logging.Handler):
    """Logs what OpenTelemetry complains about: one line at once, then one per minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._log = RateLimitedLog("traces", burst=1, per_second=1 / 60)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, or count it."""
        try:
            # Its arguments are the address and the status of the receiver; spans and headers are never among them.
            text = record.getMessage().partition("\n")[0]
            self._log.warning("traces", problem=redacted(text)[:_LONGEST])
        except Exception:  # noqa: BLE001 -- like all handlers of the standard library
            self.handleError(record)


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    if name == "otlp":
        given = next((environment[each].strip() for each in _PROTOCOLS if environment.get(each, "").strip()), "grpc")
        if given not in _OF_PROTOCOL:
            expected = " or ".join(_OF_PROTOCOL)
            raise CannotTrace(f"{_PROTOCOLS[1]}: {given!r} is not supported; expected {expected}")
        name = _OF_PROTOCOL[given]
    # Only the chosen exporter is imported: each has libraries of its own.
    if name == "otlp_proto_grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc

        return over_grpc.OTLPSpanExporter()
    if name == "otlp_proto_http":
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http

        return over_http.OTLPSpanExporter()
    expected = "otlp, otlp_proto_grpc, otlp_proto_http or none"
    raise CannotTrace(f"{EXPORTER}: {name!r} is not supported; expected {expected}")
