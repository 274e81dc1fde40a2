"""What a run leaves behind: RESULTS.md with its plots, and the figures as JSON to write it from again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import plots, targets
from bench.outcome import Outcome, Table, read
from bench.processes import BUILD, ROOT

FOLDER = ROOT / "bench"
NOTES = FOLDER / "NOTES.md"
"""Written by hand; taken into the results as it is."""

LAST = BUILD / "last.json"

SIEGE = "Under attack"
"""Title of the section that `make siege` writes."""

_HEAD = """# Measurements

Written by `make bench` or `make bench-full`; what a person has to say about it is in [NOTES.md](NOTES.md) and below.
Figures belong to the machine and the hour they were read on; what carries over is the ratio of two rows of one table.
"""

_HOW = """**How to read it.** The load comes from a process on a core of its own, a client made for it that costs a
fraction of what it measures; everything under test, be it server, gateway, Envoy or stub, shares *one* other core. So
calls/s of an endpoint that fills that core are calls/s *per core of gateway and server together*, and µs a call are
CPU time of a process divided by the calls that were answered meanwhile. A row in which the generator used more than
95 % of its own core says **limits**. Variants are measured in turn; each ratio is the median of the ratios of the
rounds.

**What is compared.** Envoy and our gateway get the same requests, have one worker each and the same server behind
them. Our gateway multiplexes: it sends what waits as one frame of calls over a stream, where Envoy and our own
gateway with `--no-multiplex` send a gRPC call for each request. Our gateway also writes a line of log for each
request, brings the answer into the documented form and answers failures in it; Envoy does none of that here: no
access log, proto3's own JSON. The server logs each call. Standard error goes to /dev/null. The bare stub has our
messages, gRPC options, uvloop and scheduling, and neither rules nor store. Every answer is checked, and each sharing
that was acknowledged is looked up in the database afterwards. Where nothing else is said the database is SQLite's.
PostgreSQL's µs a call are those of all its processes, also of sessions that ended meanwhile and of what it does in the
background.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run."""

    command: str
    seconds: float
    conditions: Sequence[tuple[str, str]]
    outcomes: Sequence[Outcome]


def keep(run: Run) -> None:
    """Write the figures down for `last`."""
    BUILD.mkdir(parents=True, exist_ok=True)
    figures = {
        "command": run.command,
        "seconds": run.seconds,
        "conditions": run.conditions,
        "outcomes": [outcome.as_json() for outcome in run.outcomes],
    }
    LAST.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")


def last() -> Run:
    """The run that was kept last.

    Raises:
        OSError: there is none.
    """
    data = json.loads(LAST.read_text(encoding="utf-8"))
    conditions = [(name, text) for name, text in data["conditions"]]
    return Run(data["command"], data["seconds"], conditions, [read(outcome) for outcome in data["outcomes"]])


def write(run: Run, folder: Path = FOLDER) -> None:
    """Write RESULTS.md and the plots into a folder; what `make siege` wrote there stays."""
    drawn, results = plots.draw(run.outcomes, folder), folder / "RESULTS.md"
    siege = section_of(results.read_text(encoding="utf-8"), SIEGE) if results.exists() else ""
    results.write_text(replace_section(text(run, drawn), SIEGE, siege), encoding="utf-8")


def section_of(text: str, title: str) -> str:
    """The section with this title, up to the next of its level; empty if there is none."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0].strip() if found else ""


def replace_section(text: str, title: str, section: str) -> str:
    """The text with this section in the place of the one with its title, or at its end."""
    old = section_of(text, title)
    if old:
        return text.replace(old, section)
    return f"{text.rstrip()}\n\n{section}".rstrip() + "\n"


def text(run: Run, drawn: Sequence[plots.Plot]) -> str:
    """All of RESULTS.md."""
    values = {name: value for outcome in run.outcomes for name, value in outcome.values.items()}
    parts = [
        _HEAD,
        Table((f"`{run.command}`, {run.seconds / 60:.1f} minutes", ""), run.conditions)
        .markdown()
        .replace("--:", "---"),
        "## Targets",
        targets.table(values).markdown(),
        *_notes(),
        _HOW.strip(),
        *(f"![{plot.title}]({plot.file})" for plot in drawn),
        *(part for outcome in run.outcomes for part in section(outcome)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def section(outcome: Outcome) -> Iterable[str]:
    """The paragraphs of one section."""
    yield f"## {outcome.title}"
    if outcome.problem:
        yield f"**Not measured: {outcome.problem}.**"
    if outcome.about:
        yield f"{outcome.about} (`python -m bench --only {outcome.name}`, {outcome.seconds:.0f} s)"
    yield from (table.markdown() for table in outcome.tables)
    yield "  \n".join(outcome.notes)


def _notes() -> Iterable[str]:
    if NOTES.exists():
        # One level down: in RESULTS.md it is a part of something.
        lines = NOTES.read_text(encoding="utf-8").splitlines()
        yield "\n".join(f"#{line}" if line.startswith("#") else line for line in lines)
