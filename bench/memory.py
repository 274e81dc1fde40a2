"""Resident memory of server and gateway while calls go through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import system as endpoints
from bench.endpoints import CALLERS
from bench.load import load_generator
from bench.outcome import Outcome, Setting, Table, number
from bench.progress import tell
from bench.system import system
from bench.usage import rss_mb

CALLS, FULL_CALLS = 50_000, 1_000_000
_SAMPLES = 50
_FLAT = 1.03
"""From the half to the end, memory that grows by less is flat."""

_Points = Sequence[tuple[float, float]]


def measure_memory(setting: Setting) -> Outcome:
    """RSS after a number of calls, and on the way there."""
    calls = FULL_CALLS if setting.full else CALLS
    with system(setting.cores, [endpoints.MULTIPLEXED]) as here, load_generator(setting.cores) as load:
        pids = here.pids(endpoints.MULTIPLEXED)
        series: dict[str, list[tuple[float, float]]] = {name: [] for name in pids}
        done = 0
        while done < calls:
            _sample(series, pids, done)
            measured = load.run(here.job(endpoints.MULTIPLEXED, callers=CALLERS, calls=calls // _SAMPLES, warmup=0.0))
            done += measured.acknowledged
            if done * 10 // calls != (done - measured.acknowledged) * 10 // calls:
                tell(f"{done:,} of {calls:,} calls, {measured.per_second:.0f}/s")
        _sample(series, pids, done)
        verified = here.verified()
    if not all(series.values()):
        return Outcome("memory", "Memory", "", problem="this platform does not tell a process's memory")
    rows = [(name, *(number(mb, 1) for mb in _at(points)), _growth(points)) for name, points in series.items()]
    values = {f"{name} RSS MB": points[-1][1] for name, points in series.items()}
    growth = {f"{name} RSS growth": _at(points)[2] / _at(points)[1] for name, points in series.items()}
    return Outcome(
        "memory",
        "Memory",
        f"Resident set while {done:,} shares go through the multiplexing gateway, {CALLERS} callers.",
        [Table(("MB", "at the start", "at the half", "at the end", "from half to end"), rows)],
        [verified],
        {**values, **growth, "memory calls": calls},
        series,
    )


def _sample(series: Mapping[str, list[tuple[float, float]]], pids: Mapping[str, Sequence[int]], done: int) -> None:
    for name, (pid,) in pids.items():
        if (mb := rss_mb(pid)) is not None:
            series[name].append((done, mb))


def _at(points: _Points) -> tuple[float, float, float]:
    """MB at the start, at the half and at the end."""
    return points[0][1], points[len(points) // 2][1], points[-1][1]


def is_flat(growth: float) -> bool:
    """Whether memory that grew so many times from the half to the end counts as flat."""
    return growth <= _FLAT


def _growth(points: _Points) -> str:
    _, half, end = _at(points)
    return f"{end / half - 1:+.1%}" + (", flat" if is_flat(end / half) else "")
