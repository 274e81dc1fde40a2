"""PostgreSQL gives the same results as SQLite for all calls, also for text that PostgreSQL cannot store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backup_sharing.errors import Failure
from backup_sharing.model import Backup
from backup_sharing.rules.commands import Cancel, CancelAll, Command, PutBackup, RemoveBackup, Share
from backup_sharing.store.interface import Position, SharingFilter, SortKey, Store
from tests.store import commands
from tests.store.both import Both
from tests.store.drawn import BACKUPS, EXISTING, LATER, changes
from tests.store.engines import PostgresEngine
from tests.store.opened import open_postgres
from tests.support.effort import cases


async def make(store: Store, command: Command) -> object:
    """Return the result of a change, or the type and text of its failure."""
    try:
        match command:
            case Share():
                return list(await store.share(command))
            case Cancel():
                return list(await store.cancel(command))
            case CancelAll():
                return list(await store.cancel_all(command))
            case PutBackup():
                return await store.put_backup(command)
            case RemoveBackup():
                return list(await store.remove_backup(command))
    except Failure as failure:
        return type(failure), str(failure)


async def outcomes(both: Both, store: Store, wanted: Sequence[Command]) -> tuple[object, ...]:
    """Store the initial rows, send the changes at once, and return their results and what is stored.

    Some of the initial sharings are due by then.
    """
    both.now = commands.NOW
    for before in (*(PutBackup(backup, commands.cause()) for backup in BACKUPS), *EXISTING):
        await make(store, before)
    both.now = LATER
    tasks = [asyncio.create_task(make(store, command)) for command in wanted]
    made = await asyncio.gather(*tasks)
    active = (await store.list_sharings(commands.page(key=SortKey.ID))).items
    counted = await store.count_sharings(commands.given())
    assert counted == len(active)
    return made, active, (await store.list_backups(None, 1000, None)).items, await store.end_due(100)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(60))
@given(changes)
def test_simultaneous_changes_come_to_the_same_on_both_engines(both: Both, wanted: list[Command]) -> None:
    both.empty()
    sqlite, postgres = (both.runner.run(outcomes(both, store, wanted)) for store in both.stores)
    assert postgres == sqlite
    assert both.engines[1].history() == both.engines[0].history()
    assert both.engines[1].events() == both.engines[0].events()
    assert both.keys()[1] == both.keys()[0]
    assert [engine.wrong_counters() for engine in both.engines] == [[], []]


# Few letters, so that names share parts; most of them have a different stored or folded form.
texts = st.text(st.sampled_from("\x00\x01\x02\x03aAßẞİi\u0131ẛ\u0307\u017f\uffff\U0001f4be%_\\"), max_size=5)


def named(number: int, name: str | None) -> Backup:
    return commands.backup(commands.backup_id(number), name=name, description=name, container=name)


async def lists(store: Store, names: Sequence[str | None], part: str) -> tuple[object, ...]:
    """Return the names as lists show them: page by page in both orders, and filtered by a part of the name."""
    for number, name in enumerate(names):
        await store.put_backup(PutBackup(named(number, name), commands.cause()))
        await store.share(commands.share(backup_id=commands.backup_id(number), sharing_ids=[f"sharing-{number:03}"]))
    ordered = []
    for descending in (False, True):
        after, found = None, []
        while True:
            page = await store.list_sharings(
                commands.page(key=SortKey.NAME, descending=descending, limit=3, after=after)
            )
            found += [(detail.backup.name, detail.sharing.id) for detail in page.items]
            if not page.more:
                break
            after = Position(*found[-1])
        ordered.append(found)
    having = SharingFilter(commands.GIVER, name=part)
    listed = [detail.backup for detail in (await store.list_sharings(commands.page(having, limit=1000))).items]
    return ordered, sorted(listed, key=lambda backup: backup.id), await store.count_sharings(having)


def expected(names: Sequence[str | None], part: str) -> tuple[object, ...]:
    pairs = [(name, f"sharing-{number:03}") for number, name in enumerate(names)]
    ordered = []
    for descending in (False, True):
        with_name = sorted((pair for pair in pairs if pair[0] is not None), reverse=descending)
        without = sorted((pair for pair in pairs if pair[0] is None), reverse=descending)
        ordered.append([*with_name, *without])
    having = [
        named(number, name)
        for number, name in enumerate(names)
        if name is not None and part.casefold() in name.casefold()
    ]
    return ordered, having, len(having)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(40))
@given(st.lists(st.none() | texts, max_size=8), texts)
@example(["\x00", "\x01", "\x01\x02", "\x02", "\x01\x03", "", None, "\x00\x00"], "\x00")
def test_names_of_any_characters_sort_alike_on_both_engines(both: Both, names: list[str | None], part: str) -> None:
    both.empty()
    for store in both.stores:
        assert both.runner.run(lists(store, names, part)) == expected(names, part)


OTHER_ORDERS = ("LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'", "LOCALE 'en_US.UTF-8'", "LOCALE 'de_DE.UTF-8'")


@pytest.fixture
def url_of_other_order(postgres: str) -> Iterator[str]:
    """Yield a database that sorts text by a language's rules, not by code point."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        for order in OTHER_ORDERS:
            with suppress(psycopg.Error):
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {order}")  # type: ignore[call-overload]  # constants
                yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]  # constants
                return
    pytest.skip("the server has no other collation")


def test_every_column_that_is_compared_is_ordered_by_code_point(both: Both) -> None:
    rows = PostgresEngine(both.url, None)._rows(
        "SELECT c.table_name, c.column_name FROM information_schema.columns AS c WHERE c.table_schema = 'public'"
        " AND c.data_type = 'text' AND c.collation_name IS DISTINCT FROM 'C'"
        " AND c.table_name NOT IN ('sharing_events', 'schema_migrations')"
    )
    assert rows == [("idempotency_keys", "answer")]


async def test_text_is_ordered_by_code_point_in_any_collation(url_of_other_order: str) -> None:
    names = ["b", "B", "a", "A", "ä", "Ä", "z", "_", " ", None]
    assert PostgresEngine(url_of_other_order, None)._rows("SELECT 'a' < 'B'") == [(True,)]
    store = await open_postgres(url_of_other_order)
    assert await lists(store, names, "A") == expected(names, "A")
    await store.close()
