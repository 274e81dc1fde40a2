"""What a section found: tables for people, figures for the targets, lines for the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.job import Measured
from bench.load import Rounds
from bench.processes import Cores

BUSY = 0.95
"""Part of its core from which the generator may be what limits a row."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text below a row of headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as GitHub shows it; all but the first column to the right."""
        rule = ["---", *("--:" for _ in self.headings[1:])]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one section."""

    name: str
    title: str
    about: str
    """What was measured and how, in a sentence or two."""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    """What is to be said below the tables."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Figures by name, for the targets and bars."""
    series: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """Points by name, for lines in a plot."""
    problem: str = ""
    """Why it could not be measured."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For a file; `read` makes an outcome of it again."""
        return asdict(self)


def read(data: Mapping[str, Any]) -> Outcome:
    """The outcome that `Outcome.as_json` wrote."""
    return Outcome(**{**data, "tables": [Table(**table) for table in data["tables"]]})


@dataclass(frozen=True, slots=True)
class Setting:
    """How a run is to be made."""

    cores: Cores
    full: bool
    """Also what takes more than ten minutes."""
    rounds: int = 5


def number(value: float | None, digits: int = 0) -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}".replace(",", " ")


LOAD_HEADINGS = (
    *("calls/s", "least - most", "p50 ms", "p99 ms"),
    *("server µs a call", "gateway µs a call", "core in use", "generator"),
)


def load_cells(rounds: Rounds) -> Sequence[str]:
    """The cells of a row below `LOAD_HEADINGS`."""
    each = [measured.per_second for measured in rounds.all]
    busy = rounds.generator_busy
    return (
        number(rounds.per_second),
        f"{number(min(each))} - {number(max(each))}",
        number(rounds.p50_ms, 2),
        number(rounds.p99_ms, 2),
        number(rounds.median(lambda m: m.cpu_us("server"))),
        number(rounds.median(lambda m: m.cpu_us("gateway"))),
        "-" if (used := rounds.median(core_in_use)) is None else f"{used:.0%}",
        f"{busy:.0%}" + (" **limits**" if busy > BUSY else ""),
    )


def core_in_use(measured: Measured) -> float | None:
    """Cores that the measured processes used."""
    return sum(measured.cpu_ns.values()) / measured.seconds / 1e9 if measured.cpu_ns else None
