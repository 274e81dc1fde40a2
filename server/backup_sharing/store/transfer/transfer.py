"""Copying all data from one database to another, of any engine.

The target itself shows which rows are copied already, so an interrupted copy is simply started again:

1. Both sides are read in the order of their keys and compared. A row of the target that the source does not have, and
   never had, means that the target has other data: the copy is refused before anything is written. A target with the
   id of the source's store is an earlier copy: the source has deleted since what only the target has.
2. Existing rows that differ, or that the source has removed since, are brought up to date. This comes first, because a
   sharing that was cancelled since makes room for a new one of the same backup with the same project.
3. Missing rows are added, one transaction per batch.
4. The target takes over the newest position of the source's store, so that cursors stay valid. It gets the id of the
   store before anything else.
5. The source is read anew, and both sides are compared row by row, which shows changes made meanwhile.

The counters of active sharings are never read from the source: they are counted there from the sharings. So a copy has
right counters, and the comparison checks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backup_sharing.model import Micros
from backup_sharing.store.interface import LogBounds
from backup_sharing.store.progress import Advance, Bar
from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.differences import PAGE, Difference, Digest, differences, read
from backup_sharing.store.transfer.side import Batch, Side
from backup_sharing.store.transfer.tables import BACKUPS, IDEMPOTENCY_KEYS, SHARING_EVENTS, SHARINGS, TABLES, Key, Table
from backup_sharing.store.unusable import UnusableDatabase


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of the comparison of a table."""

    table: str
    source_rows: int
    target_rows: int
    source_digest: str
    target_digest: str
    differences: int
    """Number of keys with different rows."""
    first: str = ""
    """Description of the first difference."""


class Transfer:
    """A copy of one database into another with tables of the same version. Every method raises UnusableDatabase.

    No other process should write to either side; `check` finds any such writes to the source.
    """

    def __init__(self, source: Side, target: Side, now: Micros) -> None:
        """Begin the copy.

        ``now``: idempotency keys that have expired by then may be missing in the source.
        """
        self._source = source
        self._target = target
        self._now = now
        self._differs: set[Table] = set()
        self._is_copy = False
        """Whether the target has the id of the source's store: it is an earlier copy, perhaps an incomplete one."""
        source.place_events()
        target.place_events()
        source.hold()
        self._log = source.log()
        self._counts = {table: source.count(table) for table in TABLES}
        self._filled = [table for table in TABLES if target.page(table, None, 1, derived=False)]

    def refuse_other_data(self, bar: Bar) -> None:
        """Raise UnusableDatabase if the source never had a row of the target. Writes nothing."""
        target = self._target.log()
        self._is_copy = target.store_id == self._log.store_id
        if target.newest > self._log.newest:
            self._refuse(SHARING_EVENTS, (target.newest,))
        with bar("Reading the target", sum(self._counts[table] for table in self._filled)) as advance:
            for table in self._filled:
                unknown: list[Row] = []
                for difference in self._differences(table, advance):
                    if difference.target is None:
                        continue
                    self._differs.add(table)
                    if difference.source is None:
                        unknown.append(difference.target)
                    elif table == SHARING_EVENTS:
                        self._refuse(table, difference.target)  # an event never changes
                    if len(unknown) == PAGE:
                        self._refuse_unless_outdated(table, unknown)
                        unknown.clear()
                self._refuse_unless_outdated(table, unknown)

    def carry(self, bar: Bar) -> int:
        """Bring the target up to date; return the number of rows written."""
        self._target.continue_log(LogBounds(self._log.store_id, 0, 0))
        outdated = [table for table in TABLES if table in self._differs]
        rows = sum(self._counts[table] for table in (*outdated, *TABLES))
        written = 0
        with bar("Copying", rows) as advance:
            for batches in (
                *(self._corrections(table, advance) for table in outdated),
                *(self._additions(table, advance) for table in TABLES),
            ):
                for table, batch in batches:
                    self._target.write(table, batch)
                    written += len(batch.add) + len(batch.replace) + len(batch.remove)
        self._target.continue_log(self._log)
        return written

    def check(self, bar: Bar) -> list[Checked]:
        """Compare both sides in their current state."""
        self._source.release()
        self._source.place_events()
        self._source.hold()
        with bar("Checking", sum(self._source.count(table) for table in TABLES)) as advance:
            return [*(self._check(table, advance) for table in TABLES), self._check_log()]

    def _corrections(self, table: Table, advance: Advance) -> Iterator[tuple[Table, Batch]]:
        replace: list[Row] = []
        remove: list[Key] = []
        for difference in self._differences(table, advance):
            if difference.source is None and difference.target is not None:
                remove.append(table.key(difference.target))
            elif difference.source is not None and difference.target is not None:
                replace.append(difference.source)
            if len(replace) + len(remove) == PAGE:
                yield table, Batch(replace=replace, remove=remove)
                replace, remove = [], []
        if replace or remove:
            yield table, Batch(replace=replace, remove=remove)

    def _additions(self, table: Table, advance: Advance) -> Iterator[tuple[Table, Batch]]:
        add: list[Row] = []
        for difference in self._differences(table, advance):
            if difference.source is not None and difference.target is None:
                add.append(difference.source)
            if len(add) == PAGE:
                yield table, Batch(add)
                add = []
        if add:
            yield table, Batch(add)

    def _check(self, table: Table, advance: Advance) -> Checked:
        ours, theirs = Digest(), Digest()

        def seen(page: Sequence[Row]) -> None:
            ours.add(page)
            advance(len(page))

        count, first = 0, ""
        both = read(self._source, table, seen, derived=True), read(self._target, table, theirs.add, derived=False)
        for difference in differences(table, *both):
            first = first or _description_of(table, difference)
            count += 1
        return Checked(table.name, ours.rows, theirs.rows, ours.text, theirs.text, count, first)

    def _check_log(self) -> Checked:
        ours, theirs = self._source.log(), self._target.log()
        source, target = (f"{log.store_id}:{log.newest}" for log in (ours, theirs))
        first = "" if source == target else f"the newest cursor is {source} in the source, and {target} in the target"
        return Checked("store", 1, 1, source, target, int(source != target), first)

    def _differences(self, table: Table, advance: Advance) -> Iterator[Difference]:
        source = read(self._source, table, lambda page: advance(len(page)), derived=True)
        return differences(table, source, read(self._target, table, lambda _: None, derived=False))

    def _refuse_unless_outdated(self, table: Table, rows: list[Row]) -> None:
        """Raise UnusableDatabase unless the source had all these rows, and has dropped them since."""
        if not rows:
            return
        if self._is_copy and table in (BACKUPS, SHARINGS):
            return
        if table == BACKUPS:
            removed = self._source.removed([row[0] for row in rows])
            rows = [row for row in rows if row[0] not in removed]
        elif table == SHARING_EVENTS:
            rows = [row for row in rows if row[0] > self._log.oldest]
        elif table == IDEMPOTENCY_KEYS:
            rows = [row for row in rows if row[table.columns.index("expires_at")] > self._now]
        if rows:
            self._refuse(table, rows[0])

    def _refuse(self, table: Table, row: Row) -> None:
        raise UnusableDatabase(
            self._target.shown,
            f"it holds other data than {self._source.shown}, such as {_name_of(table, row)}; nothing was written",
        )


def _description_of(table: Table, difference: Difference) -> str:
    source, target = difference
    if source is None:
        return f"{_name_of(table, target or ())} is missing in the source"
    if target is None:
        return f"{_name_of(table, source)} is missing in the target"
    columns = [name for name, one, other in zip(table.columns, source, target, strict=True) if one != other]
    return f"{_name_of(table, source)} differs in {', '.join(columns)}"


def _name_of(table: Table, row: Row) -> str:
    values = zip(table.key_columns, row, strict=False)
    return f"{table.name} {', '.join(f'{name} {value!r}' for name, value in values)}"
