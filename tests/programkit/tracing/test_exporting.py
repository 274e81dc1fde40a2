"""The tracer that the settings and the environment ask for, and its end when nobody receives the spans."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Mapping

import pytest
import structlog
from structlog.testing import capture_logs

pytest.importorskip("opentelemetry.sdk")

from programkit.tracing.setup import CannotTrace, begin_tracing
from programkit.tracing.spans import NO_TRACER, Kind, Tracer
from tests.support.programs import PATIENCE

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def begun(wanted: bool, **environment: str) -> Tracer:
    return begin_tracing("program", "1", wanted=wanted, environment=environment)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Wait for the library's threads: one that still tries to send would disturb later tests."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(("end-of-", "Otel")):
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    """Variables of a receiver that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listening.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "20",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment


@pytest.mark.parametrize(
    ("wanted", "environment"),
    [
        (False, {}),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}),
        (False, {"OTEL_TRACES_EXPORTER": "none"}),
        (True, {"OTEL_TRACES_EXPORTER": "none"}),
        (True, {"OTEL_SDK_DISABLED": "true"}),
        (True, {"OTEL_SDK_DISABLED": " TRUE ", "OTEL_TRACES_EXPORTER": "otlp"}),
    ],
)
def test_nothing_is_traced_unless_it_is_wanted(wanted: bool, environment: dict[str, str]) -> None:
    assert begun(wanted, **environment) is NO_TRACER


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: 'zipkin' is not supported; expected otlp"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "'http/json' is not supported; expected grpc or http/protobuf"),
    ],
)
def test_an_exporter_that_is_not_known_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(CannotTrace, match=said):
        begun(True, **environment)
    with capture_logs() as lines:
        assert begun(False, **{"OTEL_TRACES_EXPORTER": "otlp"} | environment) is NO_TRACER
    [line] = lines
    assert said in line["problem"]


def test_without_the_extra_the_flag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(("opentelemetry", "programkit.tracing.otel", "programkit.tracing.exporting")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(CannotTrace, match=r"opentelemetry is not installed; install the extra \[otel\]"):
        begun(True)
    with capture_logs() as lines:
        assert begun(False, OTEL_TRACES_EXPORTER="otlp") is NO_TRACER
    assert [line["event"] for line in lines] == ["traces"]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_the_end_does_not_wait_for_a_hanging_receiver(nobody: Mapping[str, str], protocol: str) -> None:
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    span = tracer.received("call", PARENT, None)
    assert span is not None
    span.end()
    with capture_logs() as lines:
        await tracer.close()
    assert [line["problem"] for line in lines] == ["the last spans could not be sent in time"]


async def test_a_receiver_that_is_away_is_one_line_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        with capture_logs() as lines:
            tracer = begun(True, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
            for _ in range(50):
                span = tracer.received("call", PARENT, None)
                assert span is not None
                span.end()
            await tracer.close()
    problems = [line["problem"] for line in lines if "in time" not in line["problem"]]
    assert len(problems) == 1
    structlog.reset_defaults()


async def test_a_new_span_takes_the_place_of_the_parent(nobody: Mapping[str, str]) -> None:
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    span = tracer.received("call", PARENT, "a=1")
    assert span is not None
    sent = span.child("sent", Kind.CLIENT)
    assert (span.trace_id, sent.trace_id) == (TRACE, TRACE)
    assert len({SPAN, span.span_id, sent.span_id}) == 3
    given = [("x-auth-token", "t"), ("traceparent", PARENT), ("tracestate", "a=1")]
    passed_on = [("x-auth-token", "t"), ("tracestate", "a=1"), ("traceparent", f"00-{TRACE}-{sent.span_id}-01")]
    assert sent.passed_on(given) == passed_on
    await tracer.close()


@pytest.mark.parametrize("traceparent", [None, "", f"{PARENT}-garbage", f"ff{PARENT[2:]}"])
async def test_a_call_without_a_parent_begins_a_trace(nobody: Mapping[str, str], traceparent: str | None) -> None:
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    span = tracer.received("call", traceparent, "a=1")
    assert span is not None
    assert span.is_recording
    assert TRACE != span.trace_id != "0" * 32
    # Its trace state belongs to the invalid parent.
    assert [key for key, _ in span.passed_on([("tracestate", "a=1")])] == ["traceparent"]
    await tracer.close()


async def test_an_unsampled_parent_costs_no_more_spans(nobody: Mapping[str, str]) -> None:
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    span = tracer.received("call", f"00-{TRACE}-{SPAN}-00", None)
    assert span is not None
    assert not span.is_recording
    assert span.child("sent", Kind.CLIENT) is span
    assert span.passed_on([("traceparent", "theirs")]) == [("traceparent", "theirs")]
    await tracer.close()


async def test_a_trace_that_is_not_sampled_is_not_sampled_behind(
    nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    flags = set()
    for _ in range(200):
        span = tracer.received("call", None, None)
        assert span is not None
        [(key, passed_on)] = span.passed_on([("tracestate", "a=1")])
        assert (key, passed_on[:53]) == ("traceparent", f"00-{span.trace_id}-{span.span_id}-"[:53])
        is_sampled = int(str(passed_on)[-2:], 16) & 1
        assert is_sampled == span.is_recording
        flags.add(is_sampled)
    assert flags == {0, 1}
    await tracer.close()


async def test_another_sampler_may_record_what_the_caller_does_not(
    nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    tracer = begun(True, **nobody, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    span = tracer.received("call", f"00-{TRACE}-{SPAN}-00", None)
    assert span is not None
    assert span.is_recording
    await tracer.close()
