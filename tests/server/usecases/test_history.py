"""The history: filters, pages by token, and the cursor from which a watch goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backup_sharing.errors import CursorExpired, InvalidArgument
from backup_sharing.model import Event, Page
from backup_sharing.store.interface import EventFilter, LogBounds, Store, StoredEvent
from backup_sharing.usecases.history import EventPage, EventsRequest, History
from backup_sharing.usecases.sharing import Caller, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    NOW,
    RECIPIENT,
    SECOND,
    TOKENS,
    UNKNOWN,
    Clock,
    cancel,
    projects,
    share,
)

STORE_ID = "0123456789abcdef"
GIVERS, SERVICE = TOKENS["giver-token"], TOKENS["service-token"]


@pytest.fixture
def history(store: Store) -> History:
    return History(store)


def request(**members: object) -> EventsRequest:
    return EventsRequest(**{"project_id": GIVER, **members})  # type: ignore[arg-type]  # keyword members


async def pages(history: History, *, limit: int, **members: object) -> list[EventPage]:
    found = [await history.list(GIVERS, request(limit=limit, **members))]
    while token := found[-1].next_page_token:
        found.append(await history.list(GIVERS, request(limit=limit, page_token=token, **members)))
    return found


@pytest.mark.parametrize("sort_dir", ["asc", "desc", None, ""])
async def test_pages_by_token_hold_every_event_once(
    history: History, sharings: Sharings, caller: Caller, sort_dir: str | None
) -> None:
    await sharings.share(caller, share(*projects(9)))
    found = await pages(history, limit=4, sort_dir=sort_dir)
    positions = [each.position for page in found for each in page.items]
    assert len(positions) == 11
    assert positions == sorted(positions, reverse=sort_dir != "asc")
    assert [len(page.items) for page in found] == [4, 4, 3]


async def test_events_between_two_pages_are_neither_doubled_nor_lost(
    history: History, sharings: Sharings, caller: Caller
) -> None:
    await sharings.share(caller, share(*projects(5)))
    first = await history.list(GIVERS, request(limit=3))
    await sharings.share(caller, share(RECIPIENT))
    second = await history.list(GIVERS, request(limit=100, page_token=first.next_page_token))
    positions = [each.position for page in (first, second) for each in page.items]
    assert positions == sorted(set(positions), reverse=True)
    assert len(positions) == 7
    # A watch from the first page's cursor sends exactly the event that was added meanwhile.
    (added,) = await history.log.events_after(int(first.cursor.partition(":")[2]), 10)
    assert added.event.to_project_id == RECIPIENT


async def test_a_watch_goes_on_after_the_last_ascending_page(
    history: History, sharings: Sharings, caller: Caller
) -> None:
    await sharings.share(caller, share(*projects(5)))
    last = (await pages(history, limit=3, sort_dir="asc"))[-1]
    assert last.cursor.endswith(f":{last.items[-1].position}")


class Growing:
    """A log to which an event is added after its bounds were read."""

    async def log_bounds(self) -> LogBounds:
        return LogBounds(STORE_ID, 0, 1)

    async def events_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        raise NotImplementedError

    async def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Page[StoredEvent]:
        events = [StoredEvent(number, Event("shared", NOW, "", "", "", BACKUP, GIVER, None, None)) for number in (1, 2)]
        start = after if after is not None else 99 if descending else 0
        kept = [each for each in events if (each.position < start if descending else each.position > start)]
        return Page(kept[::-1] if descending else kept, more=False)


@pytest.mark.parametrize(("sort_dir", "shown", "cursor"), [("desc", [1], 1), ("asc", [1, 2], 2)])
async def test_no_event_is_on_a_page_and_after_its_cursor(sort_dir: str, shown: list[int], cursor: int) -> None:
    page = await History(Growing()).list(GIVERS, request(sort_dir=sort_dir))
    assert [each.position for each in page.items] == shown
    assert page.cursor == f"{STORE_ID}:{cursor}"


async def test_a_token_of_another_list_is_refused(history: History, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(*projects(5)))
    token = (await history.list(GIVERS, request(limit=2))).next_page_token
    for members in ({"sort_dir": "asc"}, {"given": {"kind": "shared"}}, {"project_id": RECIPIENT}, {"since": NOW}):
        with pytest.raises(InvalidArgument, match="page_token does not belong to this list"):
            await history.list(SERVICE, request(page_token=token, **members))
    with pytest.raises(InvalidArgument, match="offset is not expected"):
        await history.list(GIVERS, request(page_token=token, offset=1))


class Bounded(Growing):
    """A log with other bounds."""

    def __init__(self, store_id: str, oldest: int, newest: int) -> None:
        self.bounds = LogBounds(store_id, oldest, newest)

    async def log_bounds(self) -> LogBounds:
        return self.bounds


async def token_at(history: History, number: int, sort_dir: str) -> str:
    """Return a token of the page that follows the event at position ``number``."""
    limit = number if sort_dir == "asc" else (await history.log.log_bounds()).newest - number + 1
    token = (await history.list(SERVICE, request(project_id="", limit=limit, sort_dir=sort_dir))).next_page_token
    assert token
    return token


async def test_a_token_of_other_data_is_refused(history: History, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(*projects(5)))
    token = await token_at(history, 4, "asc")
    store_id = (await history.log.log_bounds()).store_id
    for log in (Bounded(STORE_ID, 0, 99), Bounded(store_id, 0, 3)):
        with pytest.raises(InvalidArgument, match="page_token does not belong to this server's data"):
            await History(log).list(SERVICE, request(project_id="", sort_dir="asc", page_token=token))


@pytest.mark.parametrize(
    ("sort_dir", "oldest", "is_expired"),
    [("asc", 4, False), ("asc", 5, True), ("desc", 3, False), ("desc", 4, True), ("desc", 5, True)],
)
async def test_a_token_older_than_what_is_kept_has_expired(
    history: History, sharings: Sharings, caller: Caller, sort_dir: str, oldest: int, is_expired: bool
) -> None:
    await sharings.share(caller, share(*projects(5)))
    token = await token_at(history, 4, sort_dir)
    log = Bounded((await history.log.log_bounds()).store_id, oldest, 8)
    wanted = request(project_id="", sort_dir=sort_dir, page_token=token)
    if not is_expired:
        await History(log).list(SERVICE, wanted)
        return
    with pytest.raises(CursorExpired) as raised:
        await History(log).list(SERVICE, wanted)
    assert raised.value.metadata == {"oldest_cursor": f"{log.bounds.store_id}:{oldest}"}


class Purged(Bounded):
    """A log whose events are deleted while a page is read."""

    def __init__(self, store_id: str, oldest: int, newest: int) -> None:
        super().__init__(store_id, 0, newest)
        self._oldest_after = oldest

    async def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Page[StoredEvent]:
        self.bounds = LogBounds(self.bounds.store_id, self._oldest_after, self.bounds.newest)
        return Page([], more=False)


@pytest.mark.parametrize(
    ("sort_dir", "oldest", "is_expired"),
    [("asc", 4, False), ("asc", 5, True), ("desc", 3, False), ("desc", 4, True)],
)
async def test_a_page_that_was_deleted_while_it_was_read_has_expired(
    history: History, sharings: Sharings, caller: Caller, sort_dir: str, oldest: int, is_expired: bool
) -> None:
    await sharings.share(caller, share(*projects(5)))
    token = await token_at(history, 4, sort_dir)
    log = Purged((await history.log.log_bounds()).store_id, oldest, 8)
    wanted = request(project_id="", sort_dir=sort_dir, page_token=token)
    if not is_expired:
        assert (await History(log).list(SERVICE, wanted)).items == []
        return
    with pytest.raises(CursorExpired) as raised:
        await History(log).list(SERVICE, wanted)
    assert raised.value.metadata == {"oldest_cursor": f"{log.bounds.store_id}:{oldest}"}


async def test_a_page_without_token_begins_at_what_is_kept(
    history: History, sharings: Sharings, caller: Caller, store: Store
) -> None:
    await sharings.share(caller, share(*projects(5)))
    await store.purge_events(NOW + 1, 5)
    page = await history.list(SERVICE, request(project_id="", sort_dir="asc"))
    assert [each.position for each in page.items] == [6, 7, 8]


@pytest.mark.parametrize("token", ["x", "", "AAAA", "0123456789abcdef:4", "WyJ4IiwxLCJ5Il0"])
async def test_an_invented_token_is_refused(history: History, token: str) -> None:
    if not token:
        assert (await history.list(GIVERS, request(page_token=token))).items
        return
    with pytest.raises(InvalidArgument, match="page_token"):
        await history.list(GIVERS, request(page_token=token))


async def test_filters_select_by_kind_time_and_partner(
    history: History, sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    clock.pass_(10)
    (sharing,) = await sharings.share(caller, share(RECIPIENT))
    clock.pass_(10)
    await sharings.cancel(caller, cancel(sharing.id))

    async def kinds(**members: object) -> list[str]:
        return [each.event.kind for each in (await history.list(GIVERS, request(**members))).items]

    assert await kinds() == ["cancelled", "shared", "backup_put", "backup_put"]
    assert await kinds(given={"kind": "shared"}) == ["shared"]
    assert await kinds(given={"sharing_id": sharing.id.upper()}) == ["cancelled", "shared"]
    assert await kinds(given={"backup_id": BACKUP.upper()}) == ["cancelled", "shared", "backup_put"]
    assert await kinds(given={"other_project_id": RECIPIENT}) == ["cancelled", "shared"]
    assert await kinds(since=NOW + 10 * SECOND, before=NOW + 20 * SECOND) == ["shared"]
    assert await kinds(since=NOW + 10 * SECOND) == ["cancelled", "shared"]
    assert await kinds(limit=1, offset=1) == ["shared"]
    assert await kinds(given={"backup_id": UNKNOWN}) == []


@pytest.mark.parametrize(
    ("field", "members", "text"),
    [
        (
            "end_time",
            {"since": NOW, "before": NOW},
            r"end_time is incorrect: 2023-11-14T22:13:20.000000Z is not later than start_",
        ),
        (
            "end_time",
            {"since": NOW + 1, "before": NOW},
            r"is not later than start_time, 2023-11-14T22:13:20.000001Z\.$",
        ),
        (
            "kind",
            {"given": {"kind": "gone"}},
            "kind is incorrect: 'gone' is not one of shared, cancelled, expired, backup_put",
        ),
        ("backup_id", {"given": {"backup_id": "x"}}, "backup_id in the request is incorrect: 'x' is not a UUID"),
        ("sharing_id", {"given": {"sharing_id": "x"}}, "sharing_id in the request is incorrect: 'x' is not a UUID"),
        (
            "other_project_id",
            {"given": {"other_project_id": "a b"}},
            "other_project_id is incorrect: 'a b' is not 1 to 64",
        ),
        ("project_id", {"project_id": "a b"}, "project_id is incorrect: 'a b' is not 1 to 64"),
        ("limit", {"limit": 0}, "limit is incorrect: 0 is less than 1"),
        ("offset", {"offset": -1}, "offset is incorrect: -1 is less than 0"),
        ("sort_dir", {"sort_dir": "up"}, "sort_dir is incorrect: 'up' is not one of asc, desc"),
    ],
)
async def test_a_bad_value_is_named(history: History, field: str, members: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as refused:
        await history.list(SERVICE, request(**members))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_a_service_reads_the_events_of_all_projects(history: History) -> None:
    page = await history.list(SERVICE, request(project_id=""))
    assert len({each.event.from_project_id for each in page.items}) == 2
    assert page.viewer is None


async def test_a_larger_limit_means_a_thousand(history: History, sharings: Sharings, caller: Caller) -> None:
    assert len((await history.list(GIVERS, request(limit=2**31 - 1))).items) == 2
