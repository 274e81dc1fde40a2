"""Shares a second when nobody attacks, of this checkout and of another one in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.endpoints import CALLERS
from bench.job import Job
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import Table, number
from bench.processes import ROOT, Cores
from bench.siege.catalogue import Place
from bench.siege.filling import fill
from bench.siege.pair import pair

_BACKUPS = 100


def measure_shares(cores: Cores, against: Path | None, rounds: int) -> tuple[Table, float | None]:
    """The shares a second of each way in; and those of this checkout to those of the other, the smaller ratio."""
    roots: dict[str, Path] = {"this checkout": ROOT, **({"the other": against} if against else {})}
    with ExitStack() as stack:
        jobs: dict[str, Job] = {}
        for name, root in roots.items():
            place = Place(owned=_BACKUPS)
            made = stack.enter_context(pair(place, cores, root=root))
            fill(made.target, place)
            for protocol, address in (("grpc", made.target.grpc), ("rest", made.target.rest)):
                pids = {program: [pid] for program, pid in made.pids.items()}
                jobs[f"{protocol}, {name}"] = Job(protocol, [address], "share", CALLERS, backups=_BACKUPS, pids=pids)
        load = stack.enter_context(load_generator(cores))
        found = in_turn(load, {name: partial(_same, job) for name, job in jobs.items()}, rounds)
    return _table(found), _smallest(found) if against else None


def _same(job: Job) -> Job:
    return job


def _table(found: Mapping[str, Rounds]) -> Table:
    rows = [
        (name, number(rounds.per_second), number(rounds.p50_ms, 2), number(rounds.p99_ms, 2), _to_other(found, name))
        for name, rounds in found.items()
    ]
    return Table(("64 callers, no attack", "shares/s", "p50 ms", "p99 ms", "to the other checkout"), rows)


def _to_other(found: Mapping[str, Rounds], name: str) -> str:
    other = name.replace("this checkout", "the other")
    return f"{ratio(found[name], found[other]):.2f}" if other != name and other in found else "-"


def _smallest(found: Mapping[str, Rounds]) -> float:
    ratios: Sequence[float] = [
        ratio(rounds, found[name.replace("this checkout", "the other")])
        for name, rounds in found.items()
        if "this checkout" in name
    ]
    return min(ratios)
