"""Watchers: how long after a share its event is in their hands, and whether each has all of them once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench import system as endpoints
from bench.outcome import Outcome, Setting, Table, number
from bench.processes import python, running
from bench.system import ALL_WATCHES_OF_ONE, System, system

PROJECTS, SERVICES, RATE = 1000, 20, 100
"""Watchers of a project each, watchers of everything, and shares a second."""

LAG = "watch lag p99, ms"
SAME_PROCESS, OTHER_PROCESS = "commit to a watcher p99, same server, ms", "commit to a watcher p99, other server, ms"

_SECONDS = 5


def measure_watching(setting: Setting) -> Outcome:
    """Lag of watchers, with many of them, and with one at the server that shares and at another one."""
    with system(setting.cores, [endpoints.GRPC], servers=2, arguments=ALL_WATCHES_OF_ONE) as here:
        many = _watched(setting, here, PROJECTS, SERVICES, RATE, same=True)
        same = _watched(setting, here, 0, 1, RATE // 5, same=True)
        other = _watched(setting, here, 0, 1, RATE // 5, same=False)
    rows = [
        (f"{PROJECTS} of a project each, {SERVICES} of everything", *_cells(RATE, many)),
        ("1 of everything, at the server that shares", *_cells(RATE // 5, same)),
        ("1 of everything, at another server", *_cells(RATE // 5, other)),
    ]
    return Outcome(
        "watching",
        "Watchers",
        f"Shares at a fixed rate for {_SECONDS} s. The lag is the time from the acknowledgement of a share to its event"
        " at a watcher, 0 if the event is there first; every watcher gets each of its events once, which is checked.",
        [Table(("watchers", "shares/s", "events received", "missed or twice", "p50 ms", "p99 ms"), rows)],
        values={LAG: many["p99_ms"], SAME_PROCESS: same["p99_ms"], OTHER_PROCESS: other["p99_ms"]},
    )


def _cells(rate: int, found: Mapping[str, float]) -> tuple[str, ...]:
    counts = (number(found["received"]), number(found["wrong"]))
    return (str(rate), *counts, number(found["p50_ms"], 1), number(found["p99_ms"], 1))


def _watched(
    setting: Setting, here: System, projects: int, services: int, rate: int, *, same: bool
) -> Mapping[str, float]:
    job = here.job(endpoints.GRPC)
    asked = {
        "share": job.addresses[0],
        "watch": job.addresses[0 if same else 1],
        "projects": projects,
        "services": services,
        "rate": rate,
        "seconds": _SECONDS,
        "backups": job.backups,
    }
    with _watchers(setting) as process:
        output, _ = process.communicate(json.dumps(asked).encode() + b"\n")
    found: Mapping[str, float] = json.loads(output or b"{}")
    if "p99_ms" not in found:
        raise RuntimeError(f"the watchers measured nothing: {found}")
    return found


@contextmanager
def _watchers(setting: Setting) -> Iterator[subprocess.Popen[bytes]]:
    with running(python("bench.watchers"), setting.cores.load) as process:
        yield process
