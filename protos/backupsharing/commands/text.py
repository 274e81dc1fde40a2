"""Text for a terminal: aligned tables without control characters."""

from __future__ import annotations

import codecs
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

Cell = str | int | None


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Lay out rows below their titles, with numbers aligned to the right."""
    lines = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(titles, *lines, strict=True)]
    is_number = [bool(lines) and all(line[n].isdecimal() for line in lines) for n in range(len(titles))]
    laid_out = (
        "  ".join(
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in (titles, *lines)
    )
    return "\n".join(laid_out)


def records(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Lay out each row as lines of title and value, for terminals that are too narrow for a table."""
    width = max(map(_width, titles))
    blocks = (
        "\n".join(f"{title:<{width}}  {_shown(cell)}" for title, cell in zip(titles, row, strict=True)) for row in rows
    )
    return "\n\n".join(blocks)


def flowed(parts: Sequence[str], columns: int | None) -> str:
    """Join the parts of an entry by two spaces, in as few lines as fit into ``columns``; later lines are indented.

    A part is never broken, so that it can be copied. None: one line, for files and other programs.
    """
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}  {part}" if lines[-1] else part
        if columns is None or not lines[-1] or _width(longer) <= columns:
            lines[-1] = longer
        else:
            lines.append(f"    {part}")
    return "\n".join(lines)


def terminal_columns() -> int | None:
    """Return the width of the terminal; None if standard output is not a terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def fits(text: str, columns: int) -> bool:
    """Return whether all lines fit into ``columns`` columns of a terminal."""
    return all(_width(line) <= columns for line in text.splitlines())


def visible(text: str) -> str:
    """Escape characters that are not printable (``\\x1b``), because names come from other projects.

    Joiners within emoji and within scripts that need them stay.
    """
    return "".join(
        one if one.isprintable() or _joins(text, place) else one.encode("unicode_escape").decode("ascii")
        for place, one in enumerate(text)
    )


def _joins(text: str, place: int) -> bool:
    # Between ASCII characters a joiner would only make two names look the same.
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    return text[place] in "\u200c\u200d" and bool(before and after) and not (before.isascii() or after.isascii())


def writes_unicode() -> bool:
    """Return whether standard output can write every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def moment(at: datetime | None) -> str:
    """Format a time for people, in UTC, with a precision of seconds."""
    return "" if at is None else at.replace(tzinfo=None).isoformat(" ", "seconds")


def rfc3339(at: datetime) -> str:
    """Format a time for programs, in UTC."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _shown(cell: Cell) -> str:
    return "" if cell is None else visible(str(cell))


def _width(text: str) -> int:
    """Return the columns of a text in a terminal."""
    if text.isascii():
        return len(text)
    try:
        from wcwidth import wcswidth  # takes a tenth of the start, and most names are ASCII
    except ImportError:  # the extra `commands` is not installed
        columns = -1
    else:
        columns = int(wcswidth(text))
    return columns if columns >= 0 else sum(_columns(one) for one in text)


def _columns(one: str) -> int:
    """Return the columns of a character, without regard to its neighbours: an emoji of several characters is wider."""
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1
