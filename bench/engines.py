"""SQLite and PostgreSQL side by side, PostgreSQL also with several servers on one database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from bench import system as endpoints
from bench.calls import LISTED_SHARINGS
from bench.job import Job, Measured
from bench.load import Load, Rounds, in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.postgres_database import postgres_database
from bench.postgres_server import PostgresServer, postgres_server, why_there_is_none
from bench.processes import Cores
from bench.reads import CALLS, page_token, read_job
from bench.system import ROWS, System, system

SHARE = "share"
SERVERS = (1, 2, 4)
_SHARING, _READING = 64, 16
"""Callers."""
_SQLITE, _POSTGRES, _APART = "SQLite", "PostgreSQL", "PostgreSQL apart"

POSTGRES_TO_SQLITE = "engines: share, PostgreSQL / SQLite"
FED = "engines: share, servers that a core of PostgreSQL feeds"

_ABOUT = (
    f"Over gRPC, on databases with the same {ROWS:,} sharings; {_SHARING} callers share; when that is taken away again,"
    f" {_READING} read a project of {LISTED_SHARINGS} sharings; all are spread over the servers. Both engines are"
    " durable: fsync for each commit, on the same disk. **PostgreSQL**, with all its processes, is on the core of the"
    " servers that use it: what two engines make of one core. **PostgreSQL apart** is on the load generator's core,"
    " which that uses little of. The servers always share *one* core, so that several cannot make more calls in sum"
    " here: they show what they cost each other, as each has fewer callers and so smaller batches. On cores of their"
    " own each would make 10⁶ / its µs a call, and PostgreSQL takes 10⁶ / its own µs on one core: the one divided by"
    " the other is how many servers it takes until a core of the database is in full use."
)


def measure_engines(setting: Setting) -> Outcome:
    """What each engine makes of the same calls, and what that costs where."""
    why = why_there_is_none()
    with ExitStack() as stack:
        server = None if why else stack.enter_context(postgres_server(setting.cores))
        systems = _systems(setting, server, stack)
        load = stack.enter_context(load_generator(setting.cores))
        shares, reads, alone = _found(setting, load, systems, server)
        verified = [f"{name}: {here.verified()}" for name, here in systems.items()]
    loaded = [*((f"{SHARE}, {name}", rounds) for name, rounds in shares.items()), *reads.items()]
    return Outcome(
        "engines",
        "SQLite and PostgreSQL",
        _ABOUT,
        [
            Table(_HEADINGS, [(name, *_cells(rounds)) for name, rounds in loaded]),
            Table(_ALONE_HEADINGS, [(name, *_times(rounds)) for name, rounds in alone.items()]),
        ],
        [*([f"PostgreSQL was not measured: {why}."] if why else []), *verified],
        _values(shares),
    )


def _found(
    setting: Setting, load: Load, systems: Mapping[str, System], server: PostgresServer | None
) -> tuple[Mapping[str, Rounds], Mapping[str, Rounds], Mapping[str, Rounds]]:
    """Shares and reads of many callers, and what one caller alone waits."""
    for here in systems.values():  # connections open, statements are prepared
        load.run(here.job(endpoints.GRPC, callers=_SHARING, seconds=0.5))
    shares = in_turn(load, _shares(systems, server, setting.cores), setting.rounds)
    _place(server, setting.cores, setting.cores.tested)
    for here in systems.values():  # or else PostgreSQL would tidy up behind the shares while reads are measured
        here.take_away_added()
    reads = _reads(setting, load, systems)
    one_server = {name: systems[name] for name in (_label(_SQLITE, 1), _label(_POSTGRES, 1)) if name in systems}
    return shares, reads, in_turn(load, _alone(one_server), setting.rounds)


def _label(engine: str, servers: int) -> str:
    return f"{engine}, {servers} server{'s' * (servers > 1)}"


def _systems(setting: Setting, server: PostgresServer | None, stack: ExitStack) -> Mapping[str, System]:
    """Each with a database of its own."""
    systems = {_label(_SQLITE, 1): stack.enter_context(system(setting.cores, [endpoints.GRPC]))}
    for servers in SERVERS if server else ():
        assert server is not None  # noqa: S101 - or there are no such systems
        database = stack.enter_context(postgres_database(server, ROWS))
        systems[_label(_POSTGRES, servers)] = stack.enter_context(
            system(setting.cores, [endpoints.GRPC], database, servers)
        )
    return systems


def _shares(
    systems: Mapping[str, System], server: PostgresServer | None, cores: Cores
) -> Mapping[str, Callable[[], Job]]:
    def job(here: System, where: frozenset[int]) -> Job:
        _place(server, cores, where)
        return here.job(endpoints.GRPC, callers=_SHARING, seconds=1.5)

    together = {name: partial(job, here, cores.tested) for name, here in systems.items()}
    apart = {
        name.replace(_POSTGRES, _APART): partial(job, here, cores.load)
        for name, here in systems.items()
        if name.startswith(_POSTGRES) and cores.are_apart
    }
    return together | apart


def _place(server: PostgresServer | None, cores: Cores, where: frozenset[int]) -> None:
    if server and cores.are_apart:
        server.move(where)


def _reads(setting: Setting, load: Load, systems: Mapping[str, System]) -> Mapping[str, Rounds]:
    found: dict[str, Rounds] = {}
    tokens = {name: page_token(here) for name, here in systems.items()}
    for call, title in CALLS.items():
        reads: dict[str, Callable[[], Job]] = {
            f"{title}, {name}": partial(
                read_job, here, endpoints.GRPC, call, tokens[name], callers=_READING, seconds=0.8
            )
            for name, here in systems.items()
        }
        found |= in_turn(load, reads, max(setting.rounds - 2, 1))
    return found


def _alone(systems: Mapping[str, System]) -> Mapping[str, Callable[[], Job]]:
    calls: Mapping[str, Callable[[System], Job]] = {
        SHARE: lambda here: here.job(endpoints.GRPC, seconds=0.8),
        CALLS["get"]: lambda here: read_job(here, endpoints.GRPC, "get", "", callers=1, seconds=0.8),
    }
    return {f"{call}, {name}": partial(job, here) for call, job in calls.items() for name, here in systems.items()}


_HEADINGS = (
    *("call, engine", *LOAD_HEADINGS[:5]),
    *("PostgreSQL µs a call", "servers that a core of PostgreSQL feeds", "cores in use", LOAD_HEADINGS[-1]),
)
_ALONE_HEADINGS = ("one caller alone", *LOAD_HEADINGS[2:4])


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


def _values(shares: Mapping[str, Rounds]) -> Mapping[str, float]:
    figures: dict[str, float | None] = {}
    for name, rounds in shares.items():
        figures[f"{name}: shares/s"] = rounds.per_second
        figures[f"{name}: server µs"] = rounds.median(lambda m: m.cpu_us("server"))
        figures[f"{name}: database µs"] = rounds.median(_database_us)
    if postgres := shares.get(_label(_POSTGRES, 1)):
        figures[POSTGRES_TO_SQLITE] = ratio(postgres, shares[_label(_SQLITE, 1)])
        figures[FED] = shares.get(_label(_APART, 1), postgres).median(_fed)
    return {name: value for name, value in figures.items() if value is not None}
