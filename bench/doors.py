"""One share through every door: with 64 callers, with one, and with a connection for each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from bench import house as doors
from bench.house import Door, house, there_are
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number

CALLERS = 64

GLANCE = 65.0
"""Shares a second and core of OpenStack Glance: a quoted figure, the middle of 60 to 70."""

_PAIRS = (
    (doors.GRPC, doors.STUB),
    (doors.MULTIPLEXED, doors.ENVOY),
    (doors.UNARY, doors.ENVOY),
    (doors.MULTIPLEXED, doors.GRPC),
    (doors.MULTIPLEXED, doors.UNARY),
    (doors.STUB_MULTIPLEXED, doors.STUB_ENVOY),
    (doors.STUB_UNARY, doors.STUB_ENVOY),
)


def measure_doors(setting: Setting) -> Outcome:
    """Throughput of every door."""
    found, verified = _rounds(setting, doors.ALL, CALLERS, seconds=2.0, rounds=setting.rounds)
    ratios = {f"{a.name} / {b.name}": ratio(found[a.name], found[b.name]) for a, b in _present(_PAIRS, found)}
    per_second = {f"{name}: calls/s": rounds.per_second for name, rounds in found.items()}
    glance = found[doors.MULTIPLEXED.name].per_second / GLANCE
    notes = [
        f"{doors.MULTIPLEXED.name} makes {number(glance)} times the {GLANCE:.0f} shares/s per core of OpenStack"
        " Glance (a quoted figure, not measured here).",
        verified,
    ]
    return Outcome(
        "doors",
        f"A share through every door, {CALLERS} callers",
        "POST with one recipient, or `ShareBackup`; durable except with the bare stub. Over REST each caller has its"
        " own connection, over gRPC all share one channel, as the gateways do.",
        [_table(found), Table(("calls/s", "ratio"), [(name, number(value, 2)) for name, value in ratios.items()])],
        notes,
        {**ratios, **per_second, **_cpu(found), "times Glance": glance},
    )


def measure_alone(setting: Setting) -> Outcome:
    """What one caller waits."""
    found, verified = _rounds(setting, doors.ALL, 1, seconds=1.0, rounds=setting.rounds)
    multiplexed, unary = found[doors.MULTIPLEXED.name], found[doors.UNARY.name]
    p50 = ratio(multiplexed, unary, lambda m: m.p50_ms)
    return Outcome(
        "alone",
        "A share through every door, one caller",
        "The same with one caller on one connection: here it is waiting that counts.",
        [_table(found)],
        [f"p50 multiplexed to p50 of a call each: {p50:.2f} (lower is better).", verified],
        {"p50 multiplexed / unary": p50},
    )


def measure_close(setting: Setting) -> Outcome:
    """A connection for each call, against connections that are kept."""
    wanted = there_are((doors.MULTIPLEXED, doors.ENVOY))
    with house(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        variants = {
            f"{door.name}, {'closed' if close else 'kept'}": partial(
                here.job, door, callers=CALLERS, seconds=1.5, close=close
            )
            for door in wanted
            for close in (False, True)
        }
        found = in_turn(load, variants, max(setting.rounds - 2, 1))
        kept = {door.name: ratio(found[f"{door.name}, closed"], found[f"{door.name}, kept"]) for door in wanted}
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
    setting: Setting, wanted: Sequence[Door], callers: int, *, seconds: float, rounds: int
) -> tuple[Mapping[str, Rounds], str]:
    wanted = there_are(wanted)
    with house(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        for door in wanted:  # streams open, caches fill
            load.run(here.job(door, callers=callers, seconds=0.5))
        variants = {door.name: partial(here.job, door, callers=callers, seconds=seconds) for door in wanted}
        found = in_turn(load, variants, rounds)
        return found, here.verified()


def _present(pairs: Sequence[tuple[Door, Door]], found: Mapping[str, Rounds]) -> Sequence[tuple[Door, Door]]:
    return [(a, b) for a, b in pairs if a.name in found and b.name in found]


def _table(found: Mapping[str, Rounds]) -> Table:
    return Table(("door", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()])


def _cpu(found: Mapping[str, Rounds]) -> Mapping[str, float]:
    used = {
        f"{name}: {process} µs": rounds.median(lambda m, process=process: m.cpu_us(process))  # type: ignore[misc]
        for name, rounds in found.items()
        for process in ("server", "gateway")
    }
    return {name: value for name, value in used.items() if value is not None}
