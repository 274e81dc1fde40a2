"""Build and run every client against a running pair, and print a table: ``make interop``.

``--only NAME`` (repeatable) runs some rows. ``--break field|null|time`` corrupts the gateway's responses, and
``--break proto-field`` the protos for the stubs; exactly the clients that should notice must then fail.
``--write docs/reference/clients.md`` writes the table between the markers of that page. The exit code is 0 if every
client behaves as expected; skipped rows are no failure unless ``--all`` is given.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.interop import stubs
from tests.system.interop.place import running_place
from tests.system.interop.renamed import stubs_with_a_renamed_field
from tests.system.interop.rows import BUILD, RENAMED_FIELD, ClientFailed, Place, Row
from tests.system.interop.tamper import TAMPERINGS

BEGIN, END = "<!-- make interop -->\n", "<!-- end -->"
"""Markers around the table in a page."""

_CLIENTS = Path(__file__).parent / "clients"


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a row."""

    row: Row
    result: str
    """``ok``, ``FAILED``, or the reason for skipping the row."""
    said: str = ""
    seconds: float = 0.0

    @property
    def skipped(self) -> bool:
        """Whether the row was skipped."""
        return self.result.startswith("skipped")


def rows() -> list[Row]:
    """Return all rows, ordered by module name."""
    names = sorted(path.stem for path in _CLIENTS.glob("*.py"))
    return [row for name in names for row in importlib.import_module(f"tests.system.interop.clients.{name}").ROWS]


def run(row: Row, place: Place) -> Result:
    """Build a row and run it, if this machine has its prerequisites."""
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
    """Return the results as a GitHub Markdown table."""
    lines = ["| client | version | API | what is run | notices | result |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r.row.name} | {r.row.version() if r.result == 'ok' else ''} | {r.row.api} | {r.row.what}"
        f" | {', '.join(sorted(r.row.notices))} | {r.result} |"
        for r in results
    ]
    return "\n".join(lines)


def unexpected(results: Sequence[Result], spoilt: str | None) -> list[str]:
    """Return complaints: rows that failed, or that did not notice the corruption which they should notice.

    Args:
        results: results of the rows.
        spoilt: name of the corruption. None: no corruption, so no row may fail.
    """
    complaints = []
    for result in results:
        notices, failed = spoilt in result.row.notices, result.result == "FAILED"
        if result.skipped or failed == notices:
            continue
        if spoilt is None:
            complaints.append(f"{result.row.name} failed: {result.said}")
        elif failed:
            complaints.append(f"{result.row.name} fails with {spoilt} spoilt, which it should not see: {result.said}")
        else:
            complaints.append(f"{result.row.name} does not notice that {spoilt} is spoilt")
    return complaints


def with_table(page: str, text: str) -> str:
    """Return the page with the text between its markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected a line {BEGIN.strip()} followed by {END}")
    return f"{head}{begin}\n{text}\n\n{end}{tail}"


@contextmanager
def _generated(spoilt: str | None) -> Iterator[None]:
    """Generate stubs from the current protos, so that clients never use outdated ones."""
    if spoilt == RENAMED_FIELD:
        with stubs_with_a_renamed_field():
            yield
    else:
        stubs.generate()
        yield


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0, 1 if a client behaves unexpectedly, or 2 if no client ran."""
    every = rows()
    names = [row.name for row in every]
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--break", dest="spoilt", choices=[*TAMPERINGS, RENAMED_FIELD], help="corruption to apply")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page to write the table into")
    parser.add_argument("--all", action="store_true", help="run every row; a skipped row is a failure")
    chosen = parser.parse_args(arguments)
    chosen.only = chosen.only or []
    BUILD.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with _generated(chosen.spoilt), running_place(TAMPERINGS.get(chosen.spoilt)) as place:
        for row in every:
            if row.name in chosen.only or (not chosen.only and (chosen.all or not row.rarely)):
                results.append(run(row, place))
                sys.stderr.write(f"{row.name}: {results[-1].result} ({results[-1].seconds:.0f} s)\n")
    sys.stdout.write(table(results) + "\n")
    complaints = unexpected(results, chosen.spoilt)
    complaints += [f"{result.row.name} was {result.result}" for result in results if result.skipped and chosen.all]
    for complaint in complaints:
        sys.stdout.write(f"\n{complaint}\n")
    if chosen.write and not chosen.spoilt:
        chosen.write.write_text(with_table(chosen.write.read_text(encoding="utf-8"), table(results)), encoding="utf-8")
    if all(result.skipped for result in results):
        sys.stdout.write("\nno client was run\n")
        return 2
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
