"""Spans of OpenTelemetry. With `programkit.tracing.exporting`, the only modules that import OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from programkit.tracing.exporting import Export
from programkit.tracing.spans import Attributes, Kind, Metadata, Span
from programkit.tracing.trace_context import TRACEPARENT, TRACESTATE, TraceContext, parsed

_KINDS: Final = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT, Kind.INTERNAL: SpanKind.INTERNAL}

_NO_CONTEXT: Final = trace.set_span_in_context(trace.INVALID_SPAN)


def otel_tracer(program: str, version: str, exporter: str, environment: Mapping[str, str]) -> OtelTracer:
    """Return a tracer that sends spans as OpenTelemetry's environment variables say.

    Args:
        program: name of the service, unless the environment names one.
        version: version of the service.
        exporter: name of the exporter, as in ``OTEL_TRACES_EXPORTER``.
        environment: OpenTelemetry's settings; its library reads most of them from the process itself.

    Raises:
        CannotTrace: the exporter is unknown, or its settings are invalid.
    """
    export = Export(exporter, environment)
    resource = Resource.create(
        {"service.version": version} | ({} if _names_service(environment) else {"service.name": program})
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(export.processor)
    return OtelTracer(provider.get_tracer(program, version), export)


def _names_service(environment: Mapping[str, str]) -> bool:
    return "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")


class OtelTracer:
    """Records the sampled calls; see `programkit.tracing.spans.Tracer`."""

    def __init__(self, tracer: trace.Tracer, export: Export) -> None:
        self._tracer = tracer
        self._export = export

    def received(self, name: str, traceparent: str | None, tracestate: str | None) -> Span | None:
        context = parsed(traceparent)
        parent = _NO_CONTEXT if context is None else trace.set_span_in_context(_remote(context, tracestate))
        return OtelSpan(self._tracer, self._tracer.start_span(name, parent, SpanKind.SERVER), 0)

    async def close(self) -> None:
        await self._export.close()


class OtelSpan:
    """A span, recorded if its trace is sampled; see `programkit.tracing.spans.Span`."""

    __slots__ = ("_epoch", "_span", "_tracer", "is_recording", "span_id", "trace_id")

    def __init__(self, tracer: trace.Tracer, span: trace.Span, epoch: int) -> None:
        """Wrap a span; ``epoch``: nanoseconds from the epoch to the zero of ``time.perf_counter()``; 0: unknown."""
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.span_id = f"{context.span_id:016x}"
        self.is_recording = span.is_recording()
        self._epoch = epoch or (time.time_ns() - time.perf_counter_ns() if self.is_recording else 0)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def describe(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def child(self, name: str, kind: Kind, began: float | None = None) -> Span:
        if not self.is_recording:
            return self
        parent = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(name, parent, _KINDS[kind], start_time=self._time(began))
        return OtelSpan(self._tracer, span, self._epoch)

    def passed_on(self, metadata: Metadata) -> Metadata:
        context = self._span.get_span_context()
        own = f"00-{self.trace_id}-{self.span_id}-{context.trace_flags:02x}"
        others = [
            entry for entry in metadata if entry[0] != TRACEPARENT and (context.trace_state or entry[0] != TRACESTATE)
        ]
        return [*others, (TRACEPARENT, own)]

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, ended: float | None = None) -> None:
        self._span.end(self._time(ended))

    def _time(self, reading: float | None) -> int | None:
        return None if reading is None else self._epoch + round(reading * 1e9)


def _remote(context: TraceContext, tracestate: str | None) -> trace.Span:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([tracestate]) if tracestate else None
    place = SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags, trace_state=state
    )
    return NonRecordingSpan(place)
