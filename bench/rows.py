"""The same calls on databases that grow: what does a share, a page, a get or a count cost with many rows?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from bench import system as endpoints
from bench.calls import LISTED_SHARINGS, PAGE
from bench.databases import Database
from bench.job import Job
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import Outcome, Setting, Table, number
from bench.postgres_database import postgres_database
from bench.postgres_server import postgres_server, why_there_is_none
from bench.reads import CALLS, HISTORY, page_token, read_job
from bench.sqlite_database import sqlite_database
from bench.system import System, system

SIZES = (10_000, 1_000_000)
FULL_SIZES = (*SIZES, 10_000_000)
_SHARE = "share"
_CALLERS = 64
_NAMES = {**CALLS, HISTORY: f"first page of {PAGE} events"}
"""The reads, with their names in the tables."""

_Found = Mapping[str, Mapping[str, Rounds]]
"""By call, and then by variant."""


def measure_rows(setting: Setting) -> Outcome:
    """Each call on each size, in each engine."""
    sizes = FULL_SIZES if setting.full else SIZES
    found: dict[str, Mapping[str, Rounds]] = {}
    with ExitStack() as stack:
        databases = list(_databases(setting, sizes, stack))
        systems = [stack.enter_context(system(setting.cores, [endpoints.GRPC], database)) for database in databases]
        load = stack.enter_context(load_generator(setting.cores))
        tokens = [page_token(here) for here in systems]
        for call in (*_NAMES, _SHARE):
            variants = {
                _variant(here.database.engine, call, here.database.rows): _job(here, call, token)
                for here, token in zip(systems, tokens, strict=True)
            }
            found[call] = in_turn(load, variants, setting.rounds)
        for here in systems:
            here.take_away_added()
        verified = [f"{here.database.engine}, {here.database.rows:,} rows: {here.verified()}" for here in systems]
    engines = list(dict.fromkeys(database.engine for database in databases))
    why = why_there_is_none()
    return Outcome(
        "rows",
        "Rows in the database",
        f"Over gRPC, one caller for the reads of a project that has {LISTED_SHARINGS} of all sharings, {_CALLERS} for"
        " the shares, which go to backups all over the database and are taken away after each round. Each sharing has"
        " an event, and the page of events has the newest of the same project. The files have"
        " been read once before, so that what the system's memory holds is there. Both engines have the same rows.",
        [_table(found, engine, sizes) for engine in engines],
        [*([f"PostgreSQL was not measured: {why}."] if why else []), *verified],
        {name: value for engine in engines for name, value in _values(found, engine, sizes).items()},
        {
            f"{engine}: {call}": [(rows, found[call][_variant(engine, call, rows)].per_second) for rows in sizes]
            for engine in engines
            for call in found
        },
    )


def _databases(setting: Setting, sizes: Sequence[int], stack: ExitStack) -> Iterator[Database]:
    for rows in sizes:
        yield stack.enter_context(sqlite_database(rows))
    if why_there_is_none():
        return
    server = stack.enter_context(postgres_server(setting.cores))
    for rows in sizes:
        yield stack.enter_context(postgres_database(server, rows))


def _variant(engine: str, call: str, rows: int) -> str:
    return f"{engine}: {_NAMES.get(call, call)}, {rows:,} rows"


def _job(here: System, call: str, token: str) -> Callable[[], Job]:
    def job() -> Job:
        if call != _SHARE:
            return read_job(here, endpoints.GRPC, call, token, callers=1, seconds=1.0)
        here.take_away_added()
        return here.job(endpoints.GRPC, callers=_CALLERS, seconds=1.5)

    return job


def _table(found: _Found, engine: str, sizes: Sequence[int]) -> Table:
    rows: list[Sequence[str]] = []
    for call, variants in found.items():
        least = variants[_variant(engine, call, sizes[0])]
        for size in sizes:
            name = _variant(engine, call, size)
            here = variants[name]
            times = (number(here.p50_ms, 2), number(here.p99_ms, 2))
            rows.append((name, number(here.per_second), *times, number(ratio(here, least), 2)))
    return Table(("call", "calls/s", "p50 ms", "p99 ms", f"calls/s to {sizes[0]:,} rows"), rows)


def _values(found: _Found, engine: str, sizes: Sequence[int]) -> Mapping[str, float]:
    least = sizes[0]
    return {
        growth(engine, call, size, least): ratio(
            variants[_variant(engine, call, size)], variants[_variant(engine, call, least)]
        )
        for call, variants in found.items()
        for size in sizes[1:]
    }


def growth(engine: str, call: str, rows: int, least: int = SIZES[0]) -> str:
    """The name of the figure that tells what is left of the calls a second with so many rows."""
    return f"{engine}: {call}: {rows} / {least} rows"
