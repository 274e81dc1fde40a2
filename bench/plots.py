"""The figures as pictures: SVG on white, the same for the same figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import system as endpoints
from bench.outcome import Outcome
from bench.progress import tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _OTHER, _SECOND = "#2563eb", "#9ca3af", "#93c5fd"
_STYLE: Any = {  # its keys are a type of their own only where matplotlib is there
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",  # text stays text: small, and sharp at any size
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    section: str
    """Whose figures it shows."""
    file: str
    title: str
    paint: Callable[[Figure, Outcome], None]


def draw(outcomes: Sequence[Outcome], folder: Path) -> Sequence[Plot]:
    """Write the pictures of what was measured; answers those that could be drawn."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        tell("no plots: matplotlib is missing, pip install -e '.[bench]'")
        return []
    measured = {outcome.name: outcome for outcome in outcomes if not outcome.problem}
    wanted = [plot for plot in PLOTS if plot.section in measured]
    for plot in wanted:
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(8, 3.4), layout="constrained")
            FigureCanvasSVG(figure)
            plot.paint(figure, measured[plot.section])
            figure.suptitle(plot.title, fontsize=11)
            figure.savefig(folder / plot.file, metadata={"Date": None, "Creator": None})
    return wanted


def _bars(axes: Axes, bars: Mapping[str, Sequence[float]], labels: Sequence[str], digits: int = 0) -> None:
    """Horizontal bars, the first on top; the parts of each stacked, with their sum at the end."""
    names = list(bars)[::-1]
    begin = [0.0] * len(names)
    for index, label in enumerate(labels):
        parts = [bars[name][index] for name in names]
        stub = [index == 0 and ("stub" in name or "Envoy" in name) for name in names]
        colors = [_OTHER if other else (_OURS, _SECOND)[index] for other in stub]
        axes.barh(names, parts, left=begin, color=colors if len(labels) == 1 else (_OURS, _SECOND)[index], label=label)
        begin = [a + b for a, b in zip(begin, parts, strict=True)]
    for at, end in enumerate(begin):
        axes.text(end, at, f" {end:,.{digits}f}", va="center")
    axes.margins(x=0.12)
    if len(labels) > 1:
        axes.legend(frameon=False, loc="lower right")


def _endpoints(figure: Figure, outcome: Outcome) -> None:
    axes = figure.subplots()
    bars = {
        name.removesuffix(": calls/s"): [value] for name, value in outcome.values.items() if name.endswith(": calls/s")
    }
    _bars(axes, bars, ["calls/s"])
    axes.set_xlabel("shares/s; server, gateway or Envoy together on one core")


def _cpu(figure: Figure, outcome: Outcome) -> None:
    axes = figure.subplots()
    values = outcome.values
    bars = {
        endpoint.name: [values[f"{endpoint.name}: server µs"], values.get(f"{endpoint.name}: gateway µs", 0.0)]
        for endpoint in endpoints.ALL
        if f"{endpoint.name}: server µs" in values
    }
    _bars(axes, bars, ["server or stub", "gateway or Envoy"])
    axes.set_xlabel("CPU µs for a share")


def _half_load(figure: Figure, outcome: Outcome) -> None:
    for axes, which in zip(figure.subplots(1, 2), ("p50", "p99"), strict=True):
        prefix, suffix = "half load, ", f": {which} ms"
        bars = {
            name.removeprefix(prefix).removesuffix(suffix): [value]
            for name, value in outcome.values.items()
            if name.endswith(suffix)
        }
        _bars(axes, bars, [which], digits=1)
        axes.set_xlabel(f"{which}, ms")


def _engines(figure: Figure, outcome: Outcome) -> None:
    per_second, cost = figure.subplots(1, 2, sharey=True)
    suffix, values = ": shares/s", outcome.values
    names = [name.removesuffix(suffix) for name in values if name.endswith(suffix)]
    _bars(per_second, {name: [values[f"{name}{suffix}"]] for name in names}, ["shares/s"])
    per_second.set_xlabel("shares/s; servers on one core")
    used = {name: [values.get(f"{name}: {process} µs", 0.0) for process in ("server", "database")] for name in names}
    _bars(cost, used, ["servers", "PostgreSQL"])
    cost.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.96))  # above the bars
    cost.set_xlabel("CPU µs for a share")


def _rows(figure: Figure, outcome: Outcome) -> None:
    shares, reads = figure.subplots(1, 2)
    calls = list(dict.fromkeys(name.partition(": ")[2] for name in outcome.series))
    for name, points in outcome.series.items():
        engine, _, call = name.partition(": ")
        axes = shares if call == "share" else reads
        rows, per_second = [point[0] for point in points], [point[1] for point in points]
        line = "-" if engine == "SQLite" else "--"
        axes.plot(rows, per_second, line, color=f"C{calls.index(call)}", marker="o", label=name)
    shares.set_title("shares/s, 64 callers", fontsize=10)
    reads.set_title("reads/s, one caller", fontsize=10)
    shares.legend(frameon=False)
    reads.legend(frameon=False, fontsize=7)
    for axes in (shares, reads):
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("sharings in the database")


def _memory(figure: Figure, outcome: Outcome) -> None:
    axes = figure.subplots()
    for name, points in outcome.series.items():
        axes.plot([point[0] for point in points], [point[1] for point in points], label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("shares made")
    axes.set_ylabel("RSS, MB")
    axes.legend(frameon=False)


PLOTS = (
    Plot("endpoints", "endpoints.svg", "Shares a second through every endpoint, 64 callers", _endpoints),
    Plot("endpoints", "cpu.svg", "What a share costs, 64 callers", _cpu),
    Plot("half-load", "half-load.svg", "Waiting at half load", _half_load),
    Plot("engines", "engines.svg", "SQLite and PostgreSQL, 64 callers", _engines),
    Plot("rows", "rows.svg", "Rows in the database", _rows),
    Plot("memory", "memory.svg", "Memory", _memory),
)
