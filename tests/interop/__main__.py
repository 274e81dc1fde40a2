"""Builds and runs every client against a running pair, and prints a table: ``make interop``.

``--only NAME`` (may be repeated) runs some rows; ``--break field|null|time`` spoils what the gateway answers, and then
expects that exactly the clients that should notice do; ``--write`` writes the table into docs/clients.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.place import running_place
from tests.interop.rows import BUILD, ClientFailed, Place, Row
from tests.interop.tamper import TAMPERINGS

_CLIENTS = Path(__file__).parent / "clients"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a row."""

    row: Row
    result: str
    """``ok``, ``FAILED``, or why it was skipped."""
    said: str = ""
    seconds: float = 0.0


def rows() -> list[Row]:
    """All rows, in the order of the modules' names."""
    names = sorted(path.stem for path in _CLIENTS.glob("*.py"))
    return [row for name in names for row in importlib.import_module(f"tests.interop.clients.{name}").ROWS]


def _result(row: Row, place: Place) -> Result:
    began = time.monotonic()
    if why := row.missing():
        return Result(row, f"skipped: {why}")
    try:
        row.build()
        row.run(place)
    except ClientFailed as failure:
        return Result(row, "FAILED", str(failure), time.monotonic() - began)
    return Result(row, "ok", "", time.monotonic() - began)


def table(results: Sequence[Result]) -> str:
    """The results as GitHub shows a table."""
    lines = ["| client | version | door | what was run | result |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.row.name} | {r.row.version() if r.result == 'ok' else ''} | {r.row.door} | {r.row.what} | {r.result} |"
        for r in results
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; answers the exit code."""
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__)
    parser.add_argument("--only", action="append", help="a row; may be repeated")
    parser.add_argument("--break", dest="spoilt", choices=TAMPERINGS, help="what to spoil in the gateway's answers")
    parser.add_argument("--write", type=Path, help="file to write the table into")
    chosen = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = [row for row in rows() if not chosen.only or row.name in chosen.only]
    results: list[Result] = []
    with running_place(TAMPERINGS.get(chosen.spoilt)) as place:
        for row in wanted:
            results.append(_result(row, place))
            sys.stderr.write(f"{row.name}: {results[-1].result} ({results[-1].seconds:.0f} s)\n")
    sys.stdout.write(table(results) + "\n")
    for result in results:
        if result.said and not chosen.spoilt:
            sys.stdout.write(f"\n{result.row.name}: {result.said}\n")
    if chosen.spoilt:
        return _noticed(results, chosen.spoilt)
    if chosen.write:
        _write(chosen.write, table(results))
    return 1 if any(result.result == "FAILED" for result in results) else 0


def _noticed(results: Sequence[Result], spoilt: str) -> int:
    """Whether exactly those failed that read what was spoilt."""
    wrong = [
        result.row.name
        for result in results
        if not result.result.startswith("skipped") and (result.result == "FAILED") != (spoilt in result.row.notices)
    ]
    for name in wrong:
        sys.stdout.write(f"{name} is not what it should be with {spoilt} spoilt\n")
    return 1 if wrong else 0


def _write(path: Path, text: str) -> None:
    head, begin, rest = path.read_text(encoding="utf-8").partition("<!-- make interop -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    path.write_text(f"{head}{begin}\n{text}\n\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
