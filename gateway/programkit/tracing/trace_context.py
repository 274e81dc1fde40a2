"""W3C Trace Context: the header ``traceparent``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "traceparent"
"""Header, and metadata key, of the caller's place in a trace."""

TRACESTATE: Final = "tracestate"
"""Header, and metadata key, of what the caller's tracing systems add; it means nothing without `TRACEPARENT`."""

_LONGEST: Final = 512
"""Maximum characters of a value; version 00 has 55."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")

_INVALID_VERSION: Final = "ff"

_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The place of a caller in a trace: the span in which it makes the call."""

    trace_id: str
    """32 lower-case hexadecimal digits, not all zero."""
    span_id: str
    """16 lower-case hexadecimal digits, not all zero."""
    is_sampled: bool
    """Whether the caller records the trace."""


def parsed(traceparent: str | None) -> TraceContext | None:
    """Return the place that a value of ``traceparent`` names; None if there is no value, or an invalid one.

    A later version of the format counts if it begins like version 00, as the specification demands.
    """
    if not traceparent or len(traceparent) > _LONGEST:
        return None
    match = _FORM.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _INVALID_VERSION or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
