"""One share through every endpoint: with 64 callers, with one, and with a connection for each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from bench import system as endpoints
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.system import Endpoint, system, there_are

CALLERS = 64

GLANCE = 65.0
"""Shares a second and core of OpenStack Glance: a quoted figure, the middle of 60 to 70."""

_PAIRS = (
    (endpoints.GRPC, endpoints.STUB),
    (endpoints.MULTIPLEXED, endpoints.ENVOY),
    (endpoints.UNARY, endpoints.ENVOY),
    (endpoints.MULTIPLEXED, endpoints.GRPC),
    (endpoints.MULTIPLEXED, endpoints.UNARY),
    (endpoints.STUB_MULTIPLEXED, endpoints.STUB_ENVOY),
    (endpoints.STUB_UNARY, endpoints.STUB_ENVOY),
)


def measure_endpoints(setting: Setting) -> Outcome:
    """Throughput of every endpoint."""
    found, verified = _rounds(setting, endpoints.ALL, CALLERS, seconds=2.0, rounds=setting.rounds)
    ratios = {f"{a.name} / {b.name}": ratio(found[a.name], found[b.name]) for a, b in _present(_PAIRS, found)}
    per_second = {f"{name}: calls/s": rounds.per_second for name, rounds in found.items()}
    glance = found[endpoints.MULTIPLEXED.name].per_second / GLANCE
    notes = [
        f"{endpoints.MULTIPLEXED.name} makes {number(glance)} times the {GLANCE:.0f} shares/s per core of OpenStack"
        " Glance (a quoted figure, not measured here).",
        verified,
    ]
    return Outcome(
        "endpoints",
        f"A share through every endpoint, {CALLERS} callers",
        "POST with one recipient, or `ShareBackup`; durable except with the bare stub. Over REST each caller has its"
        " own connection, over gRPC all share one channel, as the gateways do.",
        [_table(found), Table(("calls/s", "ratio"), [(name, number(value, 2)) for name, value in ratios.items()])],
        notes,
        {**ratios, **per_second, **_cpu(found), "times Glance": glance},
    )


def measure_alone(setting: Setting) -> Outcome:
    """What one caller waits."""
    found, verified = _rounds(setting, endpoints.ALL, 1, seconds=1.0, rounds=setting.rounds)
    multiplexed, unary = found[endpoints.MULTIPLEXED.name], found[endpoints.UNARY.name]
    p50 = ratio(multiplexed, unary, lambda m: m.p50_ms)
    return Outcome(
        "alone",
        "A share through every endpoint, one caller",
        "The same with one caller on one connection: here it is waiting that counts.",
        [_table(found)],
        [f"p50 multiplexed to p50 of a call each: {p50:.2f} (lower is better).", verified],
        {"p50 multiplexed / unary": p50},
    )


def measure_close(setting: Setting) -> Outcome:
    """A connection for each call, against connections that are kept."""
    wanted = there_are((endpoints.MULTIPLEXED, endpoints.ENVOY))
    with system(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        variants = {
            f"{endpoint.name}, {'closed' if close else 'kept'}": partial(
                here.job, endpoint, callers=CALLERS, seconds=1.5, close=close
            )
            for endpoint in wanted
            for close in (False, True)
        }
        found = in_turn(load, variants, max(setting.rounds - 2, 1))
        kept = {
            endpoint.name: ratio(found[f"{endpoint.name}, closed"], found[f"{endpoint.name}, kept"])
            for endpoint in wanted
        }
        notes = [f"{name}: {value:.2f} of the calls/s of kept connections." for name, value in kept.items()]
        return Outcome(
            "close",
            "A connection for each call",
            f"`Connection: close` with every share, against connections that are kept; {CALLERS} callers.",
            [_table(found)],
            [*notes, here.verified()],
            {f"{name}: closed / kept": value for name, value in kept.items()},
        )


def _rounds(
    setting: Setting, wanted: Sequence[Endpoint], callers: int, *, seconds: float, rounds: int
) -> tuple[Mapping[str, Rounds], str]:
    wanted = there_are(wanted)
    with system(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        for endpoint in wanted:  # streams open, caches fill
            load.run(here.job(endpoint, callers=callers, seconds=0.5))
        variants = {endpoint.name: partial(here.job, endpoint, callers=callers, seconds=seconds) for endpoint in wanted}
        found = in_turn(load, variants, rounds)
        return found, here.verified()


def _present(
    pairs: Sequence[tuple[Endpoint, Endpoint]], found: Mapping[str, Rounds]
) -> Sequence[tuple[Endpoint, Endpoint]]:
    return [(a, b) for a, b in pairs if a.name in found and b.name in found]


def _table(found: Mapping[str, Rounds]) -> Table:
    return Table(("endpoint", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()])


def _cpu(found: Mapping[str, Rounds]) -> Mapping[str, float]:
    used = {
        f"{name}: {process} µs": rounds.median(lambda m, process=process: m.cpu_us(process))  # type: ignore[misc]
        for name, rounds in found.items()
        for process in ("server", "gateway")
    }
    return {name: value for name, value in used.items() if value is not None}
