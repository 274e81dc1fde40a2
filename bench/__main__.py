"""``python -m bench``: all sections and a report, or the tables of those that are named."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from bench import envoy, memory, postgres_filling, postgres_server, report, rows, sqlite_filling
from bench.access import measure_access
from bench.conditions import conditions
from bench.conversion import measure_conversion
from bench.endpoints import measure_alone, measure_close, measure_endpoints
from bench.engines import measure_engines
from bench.group_commit import measure_group_commit
from bench.half_load import measure_half_load
from bench.load import LoadFailed
from bench.metrics import measure_metrics
from bench.outcome import Outcome, Setting
from bench.processes import BUILD, choose_cores
from bench.progress import tell
from bench.protections import measure_protections
from bench.reads import measure_reads
from bench.tracing import measure_tracing
from bench.watch_memory import measure_watch_memory
from bench.watching import measure_watching

SECTIONS: Mapping[str, Callable[[Setting], Outcome]] = {
    "endpoints": measure_endpoints,
    "alone": measure_alone,
    "half-load": measure_half_load,
    "close": measure_close,
    "reads": measure_reads,
    "access": measure_access,
    "watching": measure_watching,
    "watch-memory": measure_watch_memory,
    "engines": measure_engines,
    "rows": rows.measure_rows,
    "group-commit": measure_group_commit,
    "conversion": measure_conversion,
    "metrics": measure_metrics,
    "tracing": measure_tracing,
    "protections": measure_protections,
    "memory": memory.measure_memory,
}

_MINUTES = 16
_CALLS_A_SECOND = 1500
"""Of the million, on a slow machine."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; answers the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.report:
        report.write(report.last())
        return 0
    setting = Setting(choose_cores(), chosen.full, chosen.rounds)
    _announce(setting, chosen.only)
    began = time.monotonic()
    outcomes = [_measured(name, setting) for name in chosen.only or SECTIONS]
    if chosen.only:
        print("\n\n".join(part for outcome in outcomes for part in report.section(outcome) if part))
    else:
        command = "make bench-full" if setting.full else "make bench"
        run = report.Run(command, time.monotonic() - began, conditions(setting), outcomes)
        report.keep(run)
        report.write(run)
        print(f"wrote {report.FOLDER / 'RESULTS.md'} after {run.seconds / 60:.1f} minutes")
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure server and gateway.")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; its tables are printed")
    parser.add_argument("--full", action="store_true", help="also ten million rows and a million calls")
    parser.add_argument("--rounds", type=int, default=5, help="how often variants are measured in turn (5)")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the last run's report again")
    return parser


def _announce(setting: Setting, only: Sequence[str] | None) -> None:
    tell(str(setting.cores))
    if envoy.binary() is None:
        tell("no Envoy for this platform: its rows will be missing, and the targets that need them")
    if why := postgres_server.why_there_is_none():
        tell(f"no PostgreSQL, its rows will be missing, and the targets that need them: {why}")
    if only or not setting.full:
        return
    million = max(rows.FULL_SIZES) / 1e6
    engines = [sqlite_filling, *([] if postgres_server.why_there_is_none() else [postgres_filling])]
    disk = million * sum(engine.MB_A_MILLION for engine in engines) / 1000
    build = million * sum(engine.SECONDS_A_MILLION for engine in engines) / 60
    calls = memory.FULL_CALLS / _CALLS_A_SECOND / 60
    free = shutil.disk_usage(BUILD.parent if BUILD.parent.exists() else ".").free / 1e9
    tell(
        f"takes about {_MINUTES + calls:.0f} minutes, and {build:.0f} more where the databases of ten million rows are"
        f" still to be made; {disk * 1.5:.0f} GB of disk while they are made, {disk:.0f} GB to keep them in {BUILD}"
        f" ({free:.0f} GB are free)"
    )


def _measured(name: str, setting: Setting) -> Outcome:
    """The outcome of a section, also where it could not be measured: this is reported, and the others follow."""
    print(f"[{name}]", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        outcome = SECTIONS[name](setting)
    except (LoadFailed, RuntimeError, OSError) as error:
        outcome = Outcome(name, name.capitalize(), "", problem=str(error))
        tell(f"not measured: {error}")
    return dataclasses.replace(outcome, seconds=time.monotonic() - began)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
