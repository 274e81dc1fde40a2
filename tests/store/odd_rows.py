"""Rows of every table with all permitted values, and databases with such rows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from backup_sharing.store.opening import migrate, open_side
from backup_sharing.store.rows import Row
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.transfer.side import Batch
from backup_sharing.store.transfer.tables import BACKUPS, IDEMPOTENCY_KEYS, SHARING_EVENTS, SHARINGS, TABLES, Key, Table

PIECES = (
    *("", " ", "a", "Z", "ß", "İ", "é", "e\u0301", "長い" * 40, "🎈", "\ud7ff", "\ue000", "\uffff", "\U0010ffff"),
    *("\x00", "\x01", "\x01\x02", "\x01\x03", "\x02", "\x7f", "\n", "\r", "\t"),
    *("\\", "\\N", "\\.", '"', "'", "%s", "%", "?", "{}", "NULL"),
)
NUMBERS = (None, 0, 1, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63))
NEVER = 2**62


def rows(number: int, seed: int = 0) -> dict[Table, list[Row]]:
    """Return ``number`` rows, spread over the tables."""
    drawn = random.Random(seed)  # noqa: S311 -- not a secret

    def text() -> str:
        return "".join(drawn.choices(PIECES, k=drawn.randint(0, 4)))

    def uuid() -> str:
        return f"{drawn.getrandbits(128):032x}"

    def backup() -> Row:
        name = drawn.choice((None, text()))
        truth = drawn.choice((None, 0, 1)), drawn.choice((None, 0, 1))
        texts = [drawn.choice((None, text())) for _ in range(3)]
        numbers = [drawn.choice(NUMBERS) for _ in range(5)]
        more = [drawn.choice((None, text())) for _ in range(5)]
        folded = None if name is None else name.casefold()
        values = *texts[:2], *numbers[:2], *more, *truth, *numbers[2:], folded
        return (uuid(), "p" + uuid()[:5], text(), name, *values, 0)  # no sharing is of any of these backups

    def sharing() -> Row:
        ended = drawn.choice((None, -1, 0, 2**50))
        end = drawn.choice(NUMBERS)
        return (uuid(), uuid(), text_of_ids(drawn), uuid(), drawn.choice(NUMBERS[1:]), ended, ended, end)

    def key() -> Row:
        name = "".join(drawn.choices("!~aZ09/", k=5))
        return (drawn.choice("abc"), drawn.choice("xy"), name + uuid(), drawn.randbytes(9), json.dumps(text()), NEVER)

    def event(seq: int) -> Row:
        to = drawn.choice((None, uuid()))
        return (seq, "shared", drawn.choice(NUMBERS[1:]), uuid(), text(), text(), text(), uuid(), to, to)

    each = number // 4
    made = {
        BACKUPS: [backup() for _ in range(each)],
        SHARINGS: [sharing() for _ in range(each)],
        IDEMPOTENCY_KEYS: [key() for _ in range(each)],
        # Positions have gaps, as in a file that was copied from PostgreSQL before there were positions.
        SHARING_EVENTS: [event(seq) for seq in drawn.sample(range(1, number + 1), number - 3 * each)],
    }
    return {table: sorted(found, key=table.key) for table, found in made.items()}


def text_of_ids(drawn: random.Random) -> str:
    """Return text of the characters permitted in ids, of U+0001, which PostgreSQL stores escaped, and of U+0002."""
    return "".join(drawn.choices("Az_-09\x01\x02", k=8))


def make(database: str, content: dict[Table, list[Row]] | None = None) -> str:
    """Create the tables of a database and store these rows; return the database's name."""
    migrate(database)
    change(database, content or {})
    return database


def change(
    database: str,
    add: dict[Table, list[Row]] | None = None,
    replace: dict[Table, list[Row]] | None = None,
    remove: dict[Table, Sequence[Key]] | None = None,
) -> None:
    """Change rows."""
    with closing(open_side(database)) as side:
        for table in TABLES:
            found = [(changes or {}).get(table, ()) for changes in (add, replace, remove)]
            side.write(table, Batch(*found))  # type: ignore[arg-type]  # keys and rows are both tuples


def held(database: str) -> dict[Table, list[Row]]:
    """Return all rows of a database."""
    with closing(open_side(database)) as side:
        side.place_events()
        return {table: list(side.page(table, None, 10**6, derived=False)) for table in TABLES}


def plain_rows(path: Path) -> Iterator[list[Row]]:
    """Yield the rows of each table of a SQLite file, without decoding."""
    with closing(connect(path, busy_timeout=0)) as connection:
        for table in TABLES:
            columns, key = ", ".join(table.columns), ", ".join(table.key_columns)
            columns, key = columns.replace("position", "seq"), key.replace("position", "seq")
            yield connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY {key}").fetchall()  # noqa: S608 -- constants
