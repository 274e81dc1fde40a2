"""``python -m bench.siege``: all attacks and a section of RESULTS.md, or those that are named and their table."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from bench.conditions import conditions
from bench.outcome import Setting
from bench.postgres_filling import create, drop
from bench.postgres_server import PostgresServer, postgres_server, why_there_is_none
from bench.processes import ROOT, Cores, choose_cores
from bench.progress import tell
from bench.siege import report
from bench.siege.catalogue import ATTACKS
from bench.siege.measure import Figures, Observers, Size, measure, observers
from bench.siege.shares import measure_shares

_SAID = ("date", "commit", "machine", "cores", "versions", "PostgreSQL")
_DATABASE = "siege"
_NO_ATTACK = "no-attack"
"""Shares a second when nobody attacks."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; answers the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.report and (last := report.read(report.LAST) or report.read(report.BEFORE)):
        report.publish(last)
        return 0
    cores, size = choose_cores(), Size(attack=chosen.seconds)
    began = time.monotonic()
    tell(str(cores))
    names: Sequence[str] = chosen.only or (_NO_ATTACK, *ATTACKS)
    table, ratio = (None, None)
    if _NO_ATTACK in names:
        table, ratio = measure_shares(cores, chosen.against, chosen.rounds)
    figures = _besieged([name for name in names if name in ATTACKS], size, cores, chosen.checkout)
    said = dict(conditions(Setting(cores, full=False, rounds=chosen.rounds)))
    minutes = f"{(time.monotonic() - began) / 60:.1f} minutes"
    siege = report.Siege(
        [("took", minutes), *((name, said[name]) for name in _SAID)],
        figures,
        table,
        ratio,
        chosen.name or said["commit"],
        size.attack,
        size.rate,
    )
    if chosen.only:
        print(report.section(siege, report.before(siege)))
        return 0
    report.write(siege, report.BEFORE if chosen.as_before else report.LAST)
    report.publish(siege)
    print(report.floors(siege, report.before(siege)).markdown())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.siege", description="Attack server and gateway.")
    parser.add_argument("--only", action="append", choices=(_NO_ATTACK, *ATTACKS), help="its figures are printed")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack (10)")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="attack the programs of another checkout")
    parser.add_argument("--against", type=Path, help="checkout whose shares/s without an attack are compared with ours")
    parser.add_argument("--rounds", type=int, default=5, help="how often shares/s are measured in turn (5)")
    parser.add_argument("--as-before", action="store_true", help="keep the figures to compare later ones with")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the last siege's report again")
    parser.add_argument("--name", help="how the attacked checkout is called in the report; otherwise its commit")
    return parser


def _besieged(names: Sequence[str], size: Size, cores: Cores, root: Path) -> list[Figures]:
    found: list[Figures] = []
    with observers(cores) as others, ExitStack() as stack:
        postgres: PostgresServer | None = None
        if why := why_there_is_none():
            tell(f"no PostgreSQL, its attacks are missing: {why}")
        elif any("PostgreSQL" in ATTACKS[name].engines for name in names):
            postgres = stack.enter_context(postgres_server(cores))
        for name in names:
            for engine in ATTACKS[name].engines:
                if engine == "PostgreSQL" and postgres is None:
                    continue
                with _database(postgres if engine == "PostgreSQL" else None) as url:
                    found += _measured(name, size, cores, others, url, root)
    return found


def _measured(name: str, size: Size, cores: Cores, others: Observers, url: str, root: Path) -> list[Figures]:
    """The figures of one attack; none if it could not be measured, which is reported; the others follow."""
    try:
        one = measure(name, size, cores, others, url, root)
    except (RuntimeError, OSError, grpc.RpcError) as error:
        tell(f"{name}: not measured: {error}")
        return []
    memory = ", ".join(f"{program} +{mb:.0f} MB" for program, mb in one.over_start_mb.items())
    tell(
        f"{name:<20} {one.engine:<10} p99 {one.alone_ms:6.1f} → {one.under_ms:8.1f} ms"
        f"  failed {sum(one.failed.values()):3}, {memory}, log {one.log_ratio:.2f}"
    )
    return [one]


@contextmanager
def _database(postgres: PostgresServer | None) -> Iterator[str]:
    """Url of an empty database for one attack; empty text without a server."""
    if postgres is None:
        yield ""
        return
    create(postgres, _DATABASE)
    try:
        yield postgres.url(_DATABASE)
    finally:
        drop(postgres, _DATABASE)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
