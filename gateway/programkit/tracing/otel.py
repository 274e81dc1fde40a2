"""Spans of OpenTelemetry. With `programkit.tracing.exporting`, the only modules that import OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, ParentBasedTraceIdRatio, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from programkit.tracing.exporting import Export
from programkit.tracing.spans import Attributes, CallerSpan, Kind, Metadata, Span
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
    export, ids = Export(exporter, environment), TraceIds()
    service = {} if _names_service(environment) else {"service.name": program}
    resource = Resource.create({"service.version": version} | service)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=ids)
    provider.add_span_processor(export.processor)
    return OtelTracer(provider.get_tracer(program, version), provider.sampler, ids, export)


def _names_service(environment: Mapping[str, str]) -> bool:
    return "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")


class TraceIds(RandomIdGenerator):
    """Makes ids; the next trace gets the id for which it was sampled."""

    def __init__(self) -> None:
        self.sampled = 0
        """Id of the next trace; 0: a new one. For one thread."""

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        sampled, self.sampled = self.sampled, 0
        return sampled or super().generate_trace_id()


class OtelTracer:
    """Records the sampled calls; see `programkit.tracing.spans.Tracer`.

    Most calls are not sampled, and so the library is asked only for its decision, and makes no span for them.
    """

    def __init__(self, tracer: trace.Tracer, sampler: Sampler, ids: TraceIds, export: Export) -> None:
        self._tracer = tracer
        self._sampler = sampler
        self._ids = ids
        self._export = export
        # Exactly these types: a subclass may record what the caller does not.
        self._follows_caller = type(sampler) in (ParentBased, ParentBasedTraceIdRatio)

    def received(self, name: str, traceparent: str | None, tracestate: str | None) -> Span | None:
        context = parsed(traceparent)
        if context is None:
            return self._begun(name)
        if self._follows_caller and not context.is_sampled:
            return CallerSpan(context)
        parent = trace.set_span_in_context(_remote(context, tracestate))
        return OtelSpan(self._tracer, self._tracer.start_span(name, parent, SpanKind.SERVER), 0)

    def _begun(self, name: str) -> Span:
        """Begin a trace."""
        trace_id = self._ids.generate_trace_id()
        decision = self._sampler.should_sample(_NO_CONTEXT, trace_id, name, SpanKind.SERVER).decision
        if decision is not Decision.RECORD_AND_SAMPLE:
            span_id = self._ids.generate_span_id()
            return UnsampledSpan(TraceContext(f"{trace_id:032x}", f"{span_id:016x}", is_sampled=False))
        self._ids.sampled = trace_id
        return OtelSpan(self._tracer, self._tracer.start_span(name, _NO_CONTEXT, SpanKind.SERVER), 0)

    async def close(self) -> None:
        await self._export.close()


class UnsampledSpan(CallerSpan):
    """The begin of a trace that is not recorded, here or in the programs that are called."""

    __slots__ = ()

    def passed_on(self, metadata: Metadata) -> Metadata:
        """Return the metadata of a call that is made in this span."""
        others = [entry for entry in metadata if entry[0] not in (TRACEPARENT, TRACESTATE)]
        return [*others, (TRACEPARENT, f"00-{self.trace_id}-{self.span_id}-00")]


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
