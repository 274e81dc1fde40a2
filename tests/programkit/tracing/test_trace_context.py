"""The header ``traceparent``, by the specification W3C Trace Context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programkit.tracing.spans import NO_TRACER
from programkit.tracing.trace_context import TraceContext, parsed

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("03", True), ("02", False)])
def test_the_parent_is_read_with_its_flag(flags: str, is_sampled: bool) -> None:
    assert parsed(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize("rest", ["", "-", "-what-comes-later", "-.~!"])
def test_a_later_version_counts_if_it_begins_alike(rest: str) -> None:
    assert parsed(f"cc-{TRACE}-{SPAN}-01{rest}") == TraceContext(TRACE, SPAN, is_sampled=True)


@pytest.mark.parametrize(
    "value",
    [
        *("", "00", f"00-{TRACE}", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-0", f"00-{TRACE}-{SPAN}-011"),
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-", f"00-{TRACE}-{SPAN}-01-later", f"0-{TRACE}-{SPAN}-01"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01"),
        *(f"00-{TRACE}-{SPAN.upper()}-01", f"00-{TRACE}-{SPAN}-0A", f"00-{TRACE}-{SPAN}-zz", f"CC-{TRACE}-{SPAN}-01"),
        *(f" 00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01 ", f"00-{TRACE}-{SPAN}-01\n", f"00_{TRACE}_{SPAN}_01"),
        *(
            f"cc-{TRACE}-{SPAN}-01later",
            f"cc-{TRACE}-{SPAN}-01-a b",
            f"cc-{TRACE}-{SPAN}-01-é",
            f"cc-{TRACE}-{SPAN}-01-\n",
        ),
        *(f"00-{TRACE[:-1]}-{SPAN}-01", f"00-{TRACE}0-{SPAN}-01", f"00-{TRACE[:-1]}\u0661-{SPAN}-01"),
        f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}",
    ],
)
def test_what_is_no_parent_counts_as_none(value: str) -> None:
    assert parsed(value) is None
    assert NO_TRACER.received("call", value, "a=1") is None


def test_no_header_is_no_parent() -> None:
    assert parsed(None) is None


def digits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=least, max_size=most)


@given(st.tuples(digits(2, 2), digits(31, 33), digits(15, 17), digits(2, 2)).map("-".join))
def test_what_is_found_stands_in_the_header(text: str) -> None:
    found = parsed(text)
    assert found is None or text.split("-")[1:3] == [found.trace_id, found.span_id]


def test_without_a_tracer_the_callers_span_stands_for_all() -> None:
    span = NO_TRACER.received("call", f"00-{TRACE}-{SPAN}-01", None)
    assert span is not None
    metadata = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1")]
    assert (span.trace_id, span.span_id, span.is_recording) == (TRACE, SPAN, False)
    assert span.passed_on(metadata) is metadata
