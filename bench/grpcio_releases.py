"""Which release of grpcio costs least: ``python -m bench.grpcio_releases 1.74.0 1.76.0 …``.

Each release gets an environment of its own, kept for the next time, and serves calls of bytes with grpc.aio on the
core of what is tested. The client is the same for all and has no grpcio in it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path

from bench.job import Job
from bench.load import Rounds, in_turn, load_generator, ratio
from bench.outcome import Table, number
from bench.processes import BUILD, ROOT, choose_cores, free_address, running
from bench.progress import tell

_CALLERS = (64, 1)
_SERVER = ROOT / "bench" / "echo_server.py"


def main(arguments: Sequence[str]) -> None:
    """Compare the releases that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.grpcio_releases", description="Compare releases of grpcio.")
    parser.add_argument("releases", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round (2.0)")
    chosen = parser.parse_args(arguments)
    cores = choose_cores()
    tell(str(cores))
    with ExitStack() as stack:
        jobs: dict[str, Job] = {}
        for release in dict.fromkeys(chosen.releases):
            if (python := _python(release)) is None:
                continue
            address = free_address()
            server = stack.enter_context(running((str(python), str(_SERVER), address), cores.tested, address))
            jobs[release] = Job("grpc", [address], "echo", seconds=chosen.seconds, pids={"server": [server.pid]})
        load = stack.enter_context(load_generator(cores))
        found = {
            callers: in_turn(load, {name: _with_callers(job, callers) for name, job in jobs.items()}, chosen.rounds)
            for callers in _CALLERS
        }
    for callers, rounds in found.items():
        print(f"\n{callers} caller{'s' * (callers > 1)}\n\n{_table(rounds).markdown()}")


def _with_callers(job: Job, callers: int) -> Callable[[], Job]:
    return partial(Job, job.protocol, job.addresses, job.call, callers, job.seconds, pids=job.pids)


def _table(found: Mapping[str, Rounds]) -> Table:
    rows = []
    first = next(iter(found.values()))
    for name, rounds in found.items():
        cells = (number(rounds.per_second), number(rounds.median(lambda m: m.cpu_us("server")), 1))
        waiting = (number(rounds.p50_ms, 2), number(rounds.p99_ms, 2))
        rows.append((name, *cells, *waiting, number(ratio(rounds, first), 2), f"{rounds.generator_busy:.0%}"))
    return Table(("grpcio", "calls/s", "CPU µs a call", "p50 ms", "p99 ms", "calls/s to the first", "generator"), rows)


def _python(release: str) -> Path | None:
    """The interpreter of an environment with this release; None if it cannot be installed."""
    folder = BUILD / "venvs" / f"grpcio-{release}"
    python = folder / "bin" / "python"
    done = folder / ".done"
    if not done.exists():
        tell(f"installing grpcio {release}")
        venv.create(folder, with_pip=True, clear=True)
        wanted = (f"grpcio=={release}", f"uvloop=={metadata.version('uvloop')}")
        command = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        if subprocess.run((*command, "--only-binary", ":all:"), check=False).returncode:  # noqa: S603 - as told
            tell(f"grpcio {release} cannot be installed with this Python, and is left out")
            return None
        done.touch()
    return python


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
