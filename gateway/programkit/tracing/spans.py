"""Spans of a call, as the programs see them; without a tracer, the place of the caller stands for all of them.

A program without a tracer passes the caller's ``traceparent`` on and makes no span id of its own: a new one would be
the parent of the next program's spans, but no tracing system would ever receive it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Final, Protocol

from programkit.tracing.trace_context import TraceContext, parsed

Attributes = Mapping[str, str | int | float | bool]

Metadata = Sequence[tuple[str, str | bytes]]


class Kind(Enum):
    """The side of a call that a span describes."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span(Protocol):
    """A part of a trace, or the place of a call in it if nothing is recorded."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        ...

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits: of this span, or of the caller's if this program makes no spans."""
        ...

    @property
    def is_recording(self) -> bool:
        """Whether the other methods have an effect; callers can save the work for their arguments."""
        ...

    def rename(self, name: str) -> None:
        """Replace the name."""
        ...

    def describe(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def child(self, name: str, kind: Kind, began: float | None = None) -> Span:
        """Begin a span inside this one; at a reading of ``time.perf_counter()``, or now."""
        ...

    def passed_on(self, metadata: Metadata) -> Metadata:
        """Return the metadata of a call that is made in this span."""
        ...

    def fail(self, error_type: str) -> None:
        """Mark the span as failed, with the type of the error."""
        ...

    def end(self, ended: float | None = None) -> None:
        """End the span; at a reading of ``time.perf_counter()``, or now."""
        ...


class Tracer(Protocol):
    """Begins the span of each call that the program receives. Its methods return at once and raise nothing."""

    def received(self, name: str, traceparent: str | None, tracestate: str | None) -> Span | None:
        """Begin the span of a received call; None: the call belongs to no trace.

        Args:
            name: name of the span.
            traceparent: the caller's header, as received; an invalid one counts as none.
            tracestate: the caller's header, which counts only with a valid ``traceparent``.
        """
        ...

    async def close(self) -> None:
        """Send what is recorded, for a short time; the last call."""
        ...


class CallerSpan:
    """The span of the caller, in a program that records none."""

    __slots__ = ("_context",)

    is_recording: Final = False

    def __init__(self, context: TraceContext) -> None:
        self._context = context

    @property
    def trace_id(self) -> str:
        return self._context.trace_id

    @property
    def span_id(self) -> str:
        return self._context.span_id

    def rename(self, name: str) -> None:
        pass

    def describe(self, attributes: Attributes) -> None:
        pass

    def child(self, name: str, kind: Kind, began: float | None = None) -> Span:
        return self

    def passed_on(self, metadata: Metadata) -> Metadata:
        return metadata

    def fail(self, error_type: str) -> None:
        pass

    def end(self, ended: float | None = None) -> None:
        pass


class NoTracer:
    """Records nothing; the log shows the trace of a caller that names one."""

    def received(self, name: str, traceparent: str | None, tracestate: str | None) -> Span | None:
        context = parsed(traceparent)
        return None if context is None else CallerSpan(context)

    async def close(self) -> None:
        pass


NO_TRACER: Final = NoTracer()

_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)


def current() -> Span | None:
    """Return the span of the call that this task carries out; None: of none, or it belongs to no trace."""
    return _CURRENT.get()


class inside:  # noqa: N801 - reads like a function; a generator would cost each call 2 µs more
    """Make a span the current one for the time of a ``with`` block."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._span)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)
