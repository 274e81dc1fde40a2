"""The same calls on databases that grow: what does a share, a page, a get or a count cost with many rows?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from bench import house as doors
from bench.calls import LISTED_SHARINGS
from bench.house import House, house
from bench.job import Job
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import Outcome, Setting, Table, number
from bench.reads import CALLS, page_token, read_job

SIZES = (10_000, 1_000_000)
FULL_SIZES = (*SIZES, 10_000_000)
_SHARE = "share"
_CALLERS = 64


def measure_rows(setting: Setting) -> Outcome:
    """Each call on each size."""
    sizes = FULL_SIZES if setting.full else SIZES
    found: dict[str, Mapping[str, Rounds]] = {}
    with ExitStack() as stack:
        houses = [stack.enter_context(house(setting.cores, [doors.GRPC], rows)) for rows in sizes]
        load = stack.enter_context(load_generator(setting.cores))
        tokens = [page_token(here) for here in houses]
        for call in (*CALLS, _SHARE):
            variants = {
                _variant(call, here.rows): _job(here, call, token) for here, token in zip(houses, tokens, strict=True)
            }
            found[call] = in_turn(load, variants, setting.rounds)
        for here in houses:
            here.take_away_added()
        verified = [f"{here.rows:,} rows: {here.verified()}" for here in houses]
    return Outcome(
        "rows",
        "Rows in the database",
        f"Over gRPC, one caller for the reads of a project that has {LISTED_SHARINGS} of all sharings, {_CALLERS} for"
        " the shares, which go to backups all over the database and are taken away after each round. The files have"
        " been read once before, so that what the system's memory holds is there.",
        [_table(found, sizes)],
        verified,
        _values(found, sizes),
        {call: [(rows, found[call][_variant(call, rows)].per_second) for rows in sizes] for call in found},
    )


def _variant(call: str, rows: int) -> str:
    return f"{CALLS.get(call, call)}, {rows:,} rows"


def _job(here: House, call: str, token: str) -> Callable[[], Job]:
    def job() -> Job:
        if call != _SHARE:
            return read_job(here, doors.GRPC, call, token, callers=1, seconds=1.0)
        here.take_away_added()
        return here.job(doors.GRPC, callers=_CALLERS, seconds=1.5)

    return job


def _table(found: Mapping[str, Mapping[str, Rounds]], sizes: Sequence[int]) -> Table:
    rows: list[Sequence[str]] = []
    for call, variants in found.items():
        least = variants[_variant(call, sizes[0])]
        for size in sizes:
            here = variants[_variant(call, size)]
            times = (number(here.p50_ms, 2), number(here.p99_ms, 2))
            rows.append((_variant(call, size), number(here.per_second), *times, number(ratio(here, least), 2)))
    return Table(("call", "calls/s", "p50 ms", "p99 ms", f"calls/s to {sizes[0]:,} rows"), rows)


def _values(found: Mapping[str, Mapping[str, Rounds]], sizes: Sequence[int]) -> Mapping[str, float]:
    return {
        f"{call}: {size} / {sizes[0]} rows": ratio(variants[_variant(call, size)], variants[_variant(call, sizes[0])])
        for call, variants in found.items()
        for size in sizes[1:]
    }
