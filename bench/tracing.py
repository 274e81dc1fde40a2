"""The cost of traces: shares a second with one call in a hundred traced, to those without traces."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Final

from bench import system as endpoints
from bench.endpoints import CALLERS
from bench.job import Job
from bench.load import in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells
from bench.system import Endpoint, system

SHARE: Final = "0.01"
"""Part of the calls that is traced."""

_MEASURED: Final = {"gRPC": endpoints.GRPC, "REST": endpoints.MULTIPLEXED}

_SAMPLING: Final = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": SHARE,
}


def traced_to_untraced(protocol: str) -> str:
    """Name of the figure for ``gRPC`` or ``REST``."""
    return f"traced / untraced, {protocol}"


def measure_tracing(setting: Setting) -> Outcome:
    """Shares through two equal systems in turn: one traces, and sends the spans to a collector over gRPC."""
    try:
        from tests.support.collector import Collector, over_grpc
    except ImportError:
        raise RuntimeError("OpenTelemetry is not installed; make .venv/.bench installs it") from None
    collector, wanted = Collector(), tuple(_MEASURED.values())
    with ExitStack() as stack:
        where = stack.enter_context(over_grpc(collector))
        untraced = stack.enter_context(system(setting.cores, wanted))
        traced = stack.enter_context(system(setting.cores, wanted, variables={**_SAMPLING, **where}))
        load = stack.enter_context(load_generator(setting.cores))

        def job(here: endpoints.System, endpoint: Endpoint) -> partial[Job]:
            return partial(here.job, endpoint, callers=CALLERS, seconds=2.0)

        variants = {}
        for protocol, endpoint in _MEASURED.items():
            variants[f"{protocol}, no traces"] = job(untraced, endpoint)
            variants[f"{protocol}, traced at 1 %"] = job(traced, endpoint)
        found = in_turn(load, variants, setting.rounds)
        verified = [untraced.verified(), traced.verified()]
    values = {
        traced_to_untraced(protocol): ratio(found[f"{protocol}, traced at 1 %"], found[f"{protocol}, no traces"])
        for protocol in _MEASURED
    }
    return Outcome(
        "tracing",
        "Traces",
        f"Shares by {CALLERS} callers through two systems in turn, {setting.rounds} rounds. One sends the spans of 1 %"
        " of the calls to a collector.",
        [Table(("variant", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()])],
        [*verified, f"The collector received {len(collector.spans()):,} spans."]
        + [f"{name}: {value:.3f}" for name, value in values.items()],
        values,
    )
