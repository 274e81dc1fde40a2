"""SQLite and PostgreSQL side by side, PostgreSQL also with several servers on one database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from bench import house as doors
from bench.calls import LISTED_SHARINGS
from bench.house import ROWS, House, house
from bench.job import Job, Measured
from bench.load import Load, Rounds, in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.postgres_database import postgres_database
from bench.postgres_server import postgres_server, why_there_is_none
from bench.reads import CALLS, page_token, read_job

SHARE = "share"
SERVERS = (1, 2, 4)
_SHARING, _READING = 64, 16
"""Callers."""

POSTGRES_TO_SQLITE = "engines: share, PostgreSQL / SQLite"
FED = "engines: share, servers that a core of PostgreSQL feeds"

_ABOUT = (
    f"Over gRPC, on databases with the same {ROWS:,} sharings; {_SHARING} callers share, {_READING} read a project of"
    f" {LISTED_SHARINGS} sharings, spread over the servers. Both engines are durable: fsync for each commit, on the"
    " same disk. PostgreSQL, with all its processes, is on the *same core* as the servers that use it, so that more"
    " servers cannot make more calls in sum here: several only show what they cost each other. On machines of their"
    " own a server makes 10⁶ / its µs a call, and PostgreSQL, on one core, as many as 10⁶ / its own µs: what the one"
    " takes to the other is how many servers it takes until a core of the database is in full use."
)


def measure_engines(setting: Setting) -> Outcome:
    """What each engine makes of the same calls, and what that costs where."""
    with ExitStack() as stack:
        houses = _houses(setting, stack)
        load = stack.enter_context(load_generator(setting.cores))
        found = _under_load(setting, load, houses)
        one_server = {name: houses[name] for name in _names(1) if name in houses}
        alone = in_turn(load, _alone(one_server), setting.rounds)
        verified = [f"{name}: {here.verified()}" for name, here in houses.items()]
    why = why_there_is_none()
    return Outcome(
        "engines",
        "SQLite and PostgreSQL",
        _ABOUT,
        [
            Table(_HEADINGS, [(name, *_cells(rounds)) for name, rounds in found.items()]),
            Table(
                ("one caller alone", *LOAD_HEADINGS[2:4]), [(name, *_times(rounds)) for name, rounds in alone.items()]
            ),
        ],
        [*([f"PostgreSQL was not measured: {why}."] if why else []), *verified],
        _values(found, houses),
    )


def label(servers: int, engine: str = "PostgreSQL") -> str:
    """As the tables have it."""
    return f"{engine}, {servers} server{'s' * (servers > 1)}"


def _names(servers: int) -> Sequence[str]:
    return label(servers, "SQLite"), label(servers)


def _houses(setting: Setting, stack: ExitStack) -> Mapping[str, House]:
    """One for each row, with a database of its own."""
    houses = {label(1, "SQLite"): stack.enter_context(house(setting.cores, [doors.GRPC]))}
    if not why_there_is_none():
        server = stack.enter_context(postgres_server(setting.cores))
        for servers in SERVERS:
            database = stack.enter_context(postgres_database(server, ROWS))
            houses[label(servers)] = stack.enter_context(house(setting.cores, [doors.GRPC], database, servers))
    return houses


def _under_load(setting: Setting, load: Load, houses: Mapping[str, House]) -> Mapping[str, Rounds]:
    found: dict[str, Rounds] = {}
    tokens = {name: page_token(here) for name, here in houses.items()}
    for here in houses.values():  # connections open, statements are prepared
        load.run(here.job(doors.GRPC, callers=_SHARING, seconds=0.5))
    shares: dict[str, Callable[[], Job]] = {
        f"{SHARE}, {name}": partial(here.job, doors.GRPC, callers=_SHARING, seconds=1.5)
        for name, here in houses.items()
    }
    found |= in_turn(load, shares, setting.rounds)
    for call, title in CALLS.items():
        reads: dict[str, Callable[[], Job]] = {
            f"{title}, {name}": partial(read_job, here, doors.GRPC, call, tokens[name], callers=_READING, seconds=0.8)
            for name, here in houses.items()
        }
        found |= in_turn(load, reads, max(setting.rounds - 2, 1))
    return found


def _alone(houses: Mapping[str, House]) -> Mapping[str, Callable[[], Job]]:
    calls: Mapping[str, Callable[[House], Job]] = {
        SHARE: lambda here: here.job(doors.GRPC, seconds=0.8),
        CALLS["get"]: lambda here: read_job(here, doors.GRPC, "get", "", callers=1, seconds=0.8),
    }
    return {f"{call}, {name}": partial(job, here) for call, job in calls.items() for name, here in houses.items()}


_HEADINGS = (
    *("call, engine", *LOAD_HEADINGS[:5]),
    *("PostgreSQL µs a call", "servers that a core of PostgreSQL feeds", *LOAD_HEADINGS[6:]),
)


def _cells(rounds: Rounds) -> Sequence[str]:
    cells = load_cells(rounds)
    return *cells[:5], number(rounds.median(_database_us)), number(rounds.median(_fed), 1), *cells[6:]


def _database_us(measured: Measured) -> float | None:
    return measured.cpu_us("database")


def _fed(measured: Measured) -> float | None:
    server, database = measured.cpu_us("server"), measured.cpu_us("database")
    return server / database if server and database else None


def _times(rounds: Rounds) -> Sequence[str]:
    return number(rounds.p50_ms, 2), number(rounds.p99_ms, 2)


def _values(found: Mapping[str, Rounds], houses: Mapping[str, House]) -> Mapping[str, float]:
    figures: dict[str, float | None] = {}
    for name in houses:
        rounds = found[f"{SHARE}, {name}"]
        figures[f"{name}: shares/s"] = rounds.per_second
        figures[f"{name}: server µs"] = rounds.median(lambda m: m.cpu_us("server"))
        figures[f"{name}: database µs"] = rounds.median(_database_us)
    sqlite, postgres = (found.get(f"{SHARE}, {name}") for name in _names(1))
    if sqlite and postgres:
        figures[POSTGRES_TO_SQLITE] = ratio(postgres, sqlite)
        figures[FED] = postgres.median(_fed)
    return {name: value for name, value in figures.items() if value is not None}
