"""Copies between all engines: the copied rows, the refusals, and resuming after a stop."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import LogBounds, StoredEvent
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.opening import migrate, open_store, schema_status
from backup_sharing.store.progress import Advance, Bar
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.transfer import differences, sqlite_side
from backup_sharing.store.transfer.opening import open_transfer
from backup_sharing.store.transfer.postgres_side import PostgresSide
from backup_sharing.store.transfer.side import Batch
from backup_sharing.store.transfer.sqlite_side import SqliteSide
from backup_sharing.store.transfer.tables import BACKUPS, IDEMPOTENCY_KEYS, SHARING_EVENTS, SHARINGS, TABLES, Table
from backup_sharing.store.transfer.transfer import Checked
from backup_sharing.store.unusable import UnreachableDatabase, UnusableDatabase
from tests.store.commands import (
    BACKUP_ID,
    OTHER,
    RECIPIENT,
    backup,
    backup_id,
    cancel_all,
    cause,
    given,
    key,
    page,
    share,
)
from tests.store.odd_rows import NEVER, change, held, make, plain_rows, rows
from tests.support.postgres.databases import drop_database, new_database
from tests.support.postgres.proxy import TcpProxy

Databases = Callable[[str], str]
NOW = 1_700_000_000_000_000


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    """Yield a factory for the names of empty databases."""
    with ExitStack() as stack:

        def make_one(engine: str) -> str:
            if engine == "sqlite":
                return f"sqlite://{tmp_path / uuid4().hex}.db"
            url = new_database(request.getfixturevalue("postgres"))
            stack.callback(drop_database, url)
            return url

        yield make_one


@pytest.fixture(params=["sqlite to postgres", "postgres to sqlite", "sqlite to sqlite", "postgres to postgres"])
def pair(request: pytest.FixtureRequest, new: Databases) -> tuple[str, str]:
    """Return the names of an empty source and an empty target."""
    source, _, target = str(request.param).partition(" to ")
    return new(source), new(target)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "PAGE", 7)
    monkeypatch.setattr("backup_sharing.store.transfer.transfer.PAGE", 7)


def bar(_label: str, _length: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda _: None)


def copied(source: str, target: str, carried: Bar = bar) -> tuple[int, list[Checked]]:
    """Copy; return the number of written rows and the result of the comparison."""
    with open_transfer(source, target, NOW) as transfer:
        transfer.refuse_other_data(bar)
        return transfer.carry(carried), transfer.check(bar)


def assert_same(found: list[Checked]) -> None:
    assert [each.first for each in found] == [""] * (len(TABLES) + 1)
    for each in found:
        assert (each.source_rows, each.source_digest) == (each.target_rows, each.target_digest)


@pytest.mark.resilience
def test_twenty_thousand_rows_of_all_values_arrive_unchanged(pair: tuple[str, str]) -> None:
    content = rows(20_000)
    source, target = make(pair[0], content), pair[1]
    written, found = copied(source, target)
    assert written == 20_000
    assert_same(found)
    assert held(target) == content


def test_from_sqlite_to_postgres_and_back_gives_the_same_file(new: Databases) -> None:
    first, between, last = make(new("sqlite"), rows(2_000)), new("postgres"), new("sqlite")
    digests = [[each.target_digest for each in copied(*way)[1]] for way in ((first, between), (between, last))]
    assert digests[0] == digests[1]
    assert list(plain_rows(Path(first[9:]))) == list(plain_rows(Path(last[9:])))


def test_every_column_of_every_table_is_copied(new: Databases) -> None:
    path = Path(make(new("sqlite"))[9:])
    with closing(connect(path, busy_timeout=0)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        there = {
            name: {column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")}
            for name in names
            if not name.startswith(("sqlite_", "_sqlite_"))
        }
    # The number of an event is its position, and the store's id is carried by itself.
    there["sharing_events"] = there["sharing_events"] - {"seq"} | {"position"}
    assert there == {table.name: set(table.columns) for table in TABLES} | {"store": {"id"}}


async def test_a_store_on_the_target_goes_on_with_what_the_other_had(pair: tuple[str, str]) -> None:
    odd = backup(name="Straße\x00\x01", is_incremental=True, has_dependent_backups=False, size=-1)
    store = await open_store(pair[0])
    await store.put_backup(PutBackup(odd, cause()))
    (sharing,) = await store.share(share())
    await store.close()
    copied(*pair)
    store = await open_store(pair[1])
    assert await store.get_backup(BACKUP_ID) == odd
    assert (await store.get_sharing(RECIPIENT, sharing.id)).sharing == sharing
    assert [each.sharing for each in (await store.list_sharings(page(given(name="STRASSE\x00")))).items] == [sharing]
    before = held(pair[1])[SHARING_EVENTS]
    await store.put_backup(PutBackup(odd._replace(status="error"), cause()))
    await store.close()
    numbers = [row[0] for row in held(pair[1])[SHARING_EVENTS]]
    assert numbers[:-1] == [row[0] for row in before]
    assert numbers[-1] > before[-1][0]


async def counted(pair: tuple[str, str], wrong: int | None = None) -> tuple[str, str]:
    """Share two backups in the source, and give both the same wrong counter; return the pair."""
    store = await open_store(pair[0])
    for number in (1, 2):
        await store.put_backup(PutBackup(backup(backup_id(number)), cause()))
        await store.share(share(RECIPIENT, OTHER, backup_id=backup_id(number)))
    await store.cancel_all(cancel_all(backup_id(2)))
    await store.close()
    if wrong is not None:
        set_counters(pair[0], wrong)
    return pair


def set_counters(database: str, number: int) -> None:
    change(database, replace={BACKUPS: [(*row[:-1], number) for row in held(database)[BACKUPS]]})


def counters(database: str) -> list[object]:
    return [row[-1] for row in held(database)[BACKUPS]]


@pytest.mark.parametrize("wrong", [None, 7])
async def test_a_copy_has_right_counters_whatever_the_source_has(pair: tuple[str, str], wrong: int | None) -> None:
    assert_same(copied(*await counted(pair, wrong))[1])
    assert counters(pair[1]) == [2, 0]


async def test_a_wrong_counter_in_the_target_is_found(pair: tuple[str, str]) -> None:
    await counted(pair)
    with open_transfer(*pair, NOW) as transfer:
        transfer.carry(bar)
        set_counters(pair[1], 1)
        found = {each.table: each for each in transfer.check(bar)}
    assert found["backups"].first == f"backups id {backup_id(1)!r} differs in active_sharings"
    assert found["backups"].differences == 2


async def test_a_wrong_counter_in_the_target_is_corrected_by_a_copy(pair: tuple[str, str]) -> None:
    copied(*await counted(pair))
    set_counters(pair[1], 1)
    written, found = copied(*pair)
    assert written == 2
    assert_same(found)
    assert counters(pair[1]) == [2, 0]


@pytest.mark.usefixtures("small_pages")
def test_what_is_there_already_is_not_written_again(pair: tuple[str, str]) -> None:
    make(pair[0], rows(200))
    assert copied(*pair)[0] == 200
    written, found = copied(*pair)
    assert written == 0
    assert_same(found)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("batches", [0, 1, 10, 40])
def test_a_copy_that_was_stopped_goes_on_where_it_stopped(
    pair: tuple[str, str], batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(pair[0], rows(400))
    left = iter(range(batches))
    with monkeypatch.context() as stopped:
        for side in (SqliteSide, PostgresSide):
            write = side.write

            def write_some(self: object, table: Table, batch: Batch, write: Callable[..., None] = write) -> None:
                next(left)
                write(self, table, batch)

            stopped.setattr(side, "write", write_some)
        with pytest.raises((StopIteration, RuntimeError)):
            copied(*pair)
    already = sum(map(len, held(pair[1]).values()))
    assert already >= (batches - 4) * 7  # the last batch of each table is smaller
    written, found = copied(*pair)
    assert written == 400 - already
    assert_same(found)


@pytest.mark.usefixtures("small_pages")
def test_what_was_changed_in_the_source_since_is_repaired(pair: tuple[str, str]) -> None:
    content = rows(400)
    make(pair[0], content)
    copied(*pair)
    expired = content[IDEMPOTENCY_KEYS][5:25]
    change(pair[1], replace={IDEMPOTENCY_KEYS: [(*row[:-1], NOW - 1) for row in expired]})
    changed = [(*row[:2], "changed", *row[3:]) for row in content[BACKUPS][:30]]
    removed = content[BACKUPS][50:70]
    seq = content[SHARING_EVENTS][-1][0]
    events = [
        (seq + number, "backup_removed", 1, "p", "u", "r", row[0], "p", None, None)
        for number, row in enumerate(removed, 1)
    ]
    gone = {BACKUPS: [row[:1] for row in removed], IDEMPOTENCY_KEYS: [row[:3] for row in expired]}
    change(pair[0], {SHARING_EVENTS: events}, {BACKUPS: changed}, gone)
    written, found = copied(*pair)
    assert written == 30 + 20 + 20 + 20
    assert_same(found)


@pytest.mark.usefixtures("small_pages")
def test_a_cancelled_sharing_makes_room_for_the_next_by_any_id(pair: tuple[str, str]) -> None:
    old, new = (f"z{number:03}" for number in range(20)), (f"a{number:03}" for number in range(20))
    before = [(name, name[1:], "giver", "recipient", 1, None, None, 8) for name in old]
    make(pair[0], {SHARINGS: before})
    copied(*pair)
    change(pair[0], replace={SHARINGS: [(*row[:5], 2, 2, *row[7:]) for row in before]})
    change(pair[0], {SHARINGS: [(name, name[1:], "giver", "recipient", 3, None, None, 9) for name in new]})
    written, found = copied(*pair)
    assert written == 40
    assert_same(found)


def test_writes_to_the_source_meanwhile_are_found_and_repaired(pair: tuple[str, str]) -> None:
    content = rows(400)
    make(pair[0], content)
    changed, added = (*content[BACKUPS][3][:2], "changed", *content[BACKUPS][3][3:]), rows(8, seed=1)[SHARINGS]

    @contextmanager
    def bar_with_a_writer(label: str, _length: int) -> Iterator[Advance]:
        if label == "Copying":
            change(pair[0], {SHARINGS: added}, {BACKUPS: [changed]})
        yield lambda _: None

    written, checked = copied(*pair, bar_with_a_writer)
    assert written == 400
    found = {each.table: each for each in checked}
    assert found["backups"].first == f"backups id {changed[0]!r} differs in status"
    assert found["sharings"].first == f"sharings id {added[0][0]!r} is missing in the target"
    assert found["sharings"].differences == 2
    for table in ("backups", "sharings"):
        assert found[table].source_digest != found[table].target_digest
    assert found["sharing_events"].differences == 0
    written, again = copied(*pair)
    assert written == 3
    assert_same(again)


KEY = ("p", "m", "k", b"", "[]", NEVER)
EVENT = (1, "backup_put", 1, "p", "u", "r", BACKUP_ID, "p", None, None)
OTHER_DATA = {
    "backup": (BACKUPS, (BACKUP_ID, "p", "available", *[None] * 16, 0)),
    "sharing": (SHARINGS, ("s", "b", "p", "q", 1, None, None, 9)),
    "key that is good": (IDEMPOTENCY_KEYS, KEY),
    "event": (SHARING_EVENTS, (1000, *EVENT[1:])),
    "event of the same number": (SHARING_EVENTS, EVENT),
}


@pytest.mark.parametrize("kind", OTHER_DATA)
def test_a_target_with_other_data_is_refused_before_any_write(pair: tuple[str, str], kind: str) -> None:
    table, row = OTHER_DATA[kind]
    content = rows(40)
    content[SHARING_EVENTS] = [(1, "shared", *EVENT[2:])]
    make(pair[0], content)
    make(pair[1], {table: [row]})
    with pytest.raises(UnusableDatabase, match=f"holds other data than .*such as {table.name} .*nothing was written"):
        copied(*pair)
    assert held(pair[1]) == {each: [row] if each == table else [] for each in TABLES}


def test_a_missing_source_is_refused_and_no_target_is_made(new: Databases) -> None:
    source, target = new("sqlite"), new("sqlite")
    with pytest.raises(UnusableDatabase, match="no such file"):
        copied(source, target)
    assert not Path(source[9:]).exists()
    assert not Path(target[9:]).exists()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_source_without_our_tables_is_refused_target_unchanged(new: Databases, engine: str) -> None:
    source, target = new(engine), new("postgres")
    if engine == "sqlite":
        with closing(sqlite3.connect(source[9:])) as connection:
            connection.execute("CREATE TABLE something (id)")
    with pytest.raises(UnusableDatabase, match="nothing to copy"):
        copied(source, target)
    assert schema_status(target).is_empty


def nothing(*_: object) -> None:
    """Do nothing."""


LATER = (*MIGRATIONS, Migration("9001_later", "Later", nothing, ("SELECT 1",)))


@pytest.mark.parametrize("which", [0, 1])
def test_a_database_of_a_newer_version_is_refused(pair: tuple[str, str], which: int) -> None:
    make(pair[1 - which])
    migrate(pair[which], LATER)
    with pytest.raises(UnusableDatabase, match=r"newer version of this program \(9001_later\)"):
        copied(*pair)


@pytest.mark.parametrize("which", [0, 1])
def test_a_database_of_an_older_version_is_refused(
    pair: tuple[str, str], which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(pair[which])
    migrate(pair[1 - which], LATER)
    monkeypatch.setattr(
        "backup_sharing.store.transfer.opening.schema_status", lambda database: schema_status(database, LATER)
    )
    with pytest.raises(UnusableDatabase, match=r"older version.*migrate apply"):
        copied(*pair)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_the_source_is_no_target_whatever_it_is_called(new: Databases, tmp_path: Path, engine: str) -> None:
    source = make(new(engine))
    (tmp_path / "link.db").symlink_to(source[9:])
    other = str(tmp_path / "link.db") if engine == "sqlite" else f"{source}?application_name=other"
    for name in (source, other):
        with pytest.raises(UnusableDatabase, match="is the database to copy from"):
            copied(source, name)


def test_an_unreachable_database_is_named_and_nothing_is_made(new: Databases) -> None:
    source, target = make(new("sqlite")), new("sqlite")
    nowhere = "postgresql://user:geheim@127.0.0.1:1/x"
    for way in ((source, nowhere), (nowhere, target)):
        with pytest.raises(UnreachableDatabase, match=r"^postgresql://127\.0\.0\.1:1/x: ") as raised:
            copied(*way)
        assert "geheim" not in str(raised.value)
    assert not Path(target[9:]).exists()


@pytest.mark.resilience
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("which", [0, 1])
def test_a_cut_connection_is_reported_and_the_next_copy_goes_on(
    new: Databases, postgres_proxy: TcpProxy, which: int
) -> None:
    databases = [new("sqlite"), new("sqlite")]
    direct = databases[which] = new("postgres")
    make(databases[0], rows(400))
    databases[which] = postgres_proxy.through(direct)
    left = iter(range(20))

    def cut(_: int) -> None:
        if next(left, None) is None:
            postgres_proxy.cut()

    with pytest.raises(UnreachableDatabase, match="cannot be reached"):
        copied(*databases, lambda *_: nullcontext(cut))
    databases[which] = direct
    already = sum(map(len, held(databases[1]).values()))
    assert 0 < already < 400
    written, found = copied(*databases)
    assert written == 400 - already
    assert_same(found)


@pytest.mark.usefixtures("small_pages")
def test_a_disk_that_is_full_is_told_and_the_next_copy_goes_on(new: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(new("sqlite"), rows(2_000)), make(new("sqlite"))

    def connect_to_little(path: Path, *, busy_timeout: float, query_only: bool = False) -> sqlite3.Connection:
        connection = connect(path, busy_timeout=busy_timeout, query_only=query_only)
        connection.execute("PRAGMA max_page_count = 50")
        return connection

    with monkeypatch.context() as full:
        full.setattr(sqlite_side, "connect", connect_to_little)
        with pytest.raises(UnusableDatabase, match=f"{target[9:]}: .*full"):
            copied(source, target)
    already = sum(map(len, held(target).values()))
    assert 0 < already < 2_000
    written, found = copied(source, target)
    assert written == 2_000 - already
    assert_same(found)


async def written(database: str) -> tuple[LogBounds, list[StoredEvent]]:
    """Share some backups; return the bounds of the log, and all events."""
    store = await open_store(database)
    for number in range(1, 4):
        await store.put_backup(PutBackup(backup(backup_id(number), name="\x00"), cause()))
        await store.share(share(backup_id=backup_id(number)))
    bounds = await store.log_bounds()
    events = list(await store.events_after(0, 1000))
    await store.close()
    return bounds, events


async def test_a_cursor_of_the_source_is_one_of_the_target(pair: tuple[str, str]) -> None:
    bounds, events = await written(pair[0])
    assert_same(copied(*pair)[1])
    store = await open_store(pair[1])
    assert await store.log_bounds() == bounds
    assert await store.events_after(2, 1000) == events[2:]
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    assert [each.position for each in await store.events_after(bounds.newest, 1000)] == [bounds.newest + 1]
    await store.close()


async def test_events_nobody_has_read_yet_are_copied_too(pair: tuple[str, str]) -> None:
    store = await open_store(pair[0])
    await store.put_backup(PutBackup(backup(), cause()))
    await store.close()
    assert_same(copied(*pair)[1])
    assert [row[:2] for row in held(pair[1])[SHARING_EVENTS]] == [(1, "backup_put")]


async def test_a_position_is_not_given_again_after_all_are_gone(pair: tuple[str, str]) -> None:
    bounds, events = await written(pair[0])
    change(pair[0], remove={SHARING_EVENTS: [(each.position,) for each in events]})
    assert_same(copied(*pair)[1])
    store = await open_store(pair[1])
    assert await store.log_bounds() == replace(bounds, oldest=bounds.newest)
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    assert [each.position for each in await store.events_after(0, 1000)] == [bounds.newest + 1]
    await store.close()


async def test_what_the_source_no_longer_keeps_is_deleted(pair: tuple[str, str]) -> None:
    _, events = await written(pair[0])
    copied(*pair)
    change(pair[0], remove={SHARING_EVENTS: [(each.position,) for each in events[:4]]})
    assert_same(copied(*pair)[1])
    assert [row[0] for row in held(pair[1])[SHARING_EVENTS]] == [5, 6]


@pytest.mark.parametrize("is_complete", [True, False])
async def test_what_the_source_purged_since_a_first_copy_is_deleted(
    pair: tuple[str, str], is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(pair[0])
    for number in (1, 2):
        await store.put_backup(PutBackup(backup(backup_id(number)), cause()))
        await store.share(share(backup_id=backup_id(number)))
    with monkeypatch.context() as stopped:
        if not is_complete:
            for side in (SqliteSide, PostgresSide):
                # The last table is not reached.
                stopped.setattr(side, "write", unless_keys(side.write))
            await store.share(share(OTHER, idempotency=key(expires_at=NEVER)))
        with nullcontext() if is_complete else pytest.raises(InterruptedError):
            copied(*pair)
    for number in (1, 2):
        await store.remove_backup(RemoveBackup(backup_id(number), cause()))
    assert await store.purge_events(NOW + 1, 100)
    assert await store.purge_sharings(NOW + 1, 100)
    await store.close()
    assert_same(copied(*pair)[1])
    assert [len(held(pair[1])[table]) for table in (SHARING_EVENTS, BACKUPS, SHARINGS)] == [0, 0, 0]


def unless_keys(write: Callable[..., None]) -> Callable[..., None]:
    def write_some(self: object, table: Table, batch: Batch) -> None:
        if table == IDEMPOTENCY_KEYS:
            raise InterruptedError
        write(self, table, batch)

    return write_some


async def test_a_target_that_has_gone_further_is_refused(pair: tuple[str, str]) -> None:
    await written(pair[0])
    copied(*pair)
    store = await open_store(pair[1])
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    await store.close()
    change(pair[1], remove={SHARING_EVENTS: [(7,)]})
    with pytest.raises(UnusableDatabase, match="such as sharing_events position 7; nothing was written"):
        copied(*pair)


def test_a_page_is_read_by_its_index_without_statistics(new: Databases) -> None:
    target = make(new("postgres"), rows(4_000))
    side = PostgresSide(target)
    explain = "EXPLAIN SELECT key FROM idempotency_keys WHERE (project_id, method, key) > ('a', 'x', 'y')"
    with closing(side):
        found = side._connection.execute(f"{explain} ORDER BY project_id, method, key LIMIT 5").fetchall()
    assert "Index" in str(found)
    assert "Sort" not in str(found)
