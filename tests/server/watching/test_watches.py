"""The place at which a watch begins, and the values of its request."""

from __future__ import annotations

import pytest

from backup_sharing.errors import CursorExpired, InvalidArgument, Unavailable
from backup_sharing.model import Principal
from backup_sharing.usecases import cursor
from backup_sharing.usecases.watching.watches import Watches, WatchRequest
from backupsharing.v2 import backup_access_pb2 as pb
from tests.server.identities import GIVER, RECIPIENT, TOKENS
from tests.server.watching.fakes import STORE, Watchers, event, failing

MEMBER, SERVICE, ADMIN = TOKENS["recipient-token"], TOKENS["service-token"], TOKENS["admin-token"]


@pytest.fixture
def watchers() -> Watchers:
    watchers = Watchers()
    watchers.log.purge(10)
    watchers.log.add(event(), event(), event())
    return watchers


@pytest.fixture
def watches(watchers: Watchers) -> Watches:
    return Watches(watchers.feed, watchers.encoding, 30.0, watchers.timers)


async def first(watches: Watches, principal: Principal = SERVICE, **members: object) -> pb.WatchSharingsResponse:
    watch = await watches.open(principal, WatchRequest(**members))  # type: ignore[arg-type]  # keyword members
    try:
        return pb.WatchSharingsResponse.FromString((await watch.read())[0])
    finally:
        watch.close()


@pytest.mark.parametrize(
    ("members", "position", "is_event"),
    [
        ({}, 13, False),
        ({"from_beginning": True}, 11, True),
        ({"cursor": f"{STORE}:10"}, 11, True),
        ({"cursor": f"{STORE}:12"}, 13, True),
        ({"cursor": f"{STORE}:13"}, 13, False),
        ({"cursor": f"{STORE}:12", "from_beginning": True}, 13, True),
        ({"kind": "expired", "from_beginning": True}, 13, False),
    ],
)
async def test_a_watch_begins_where_the_request_says(
    watches: Watches, members: dict[str, object], position: int, is_event: bool
) -> None:
    reported = await first(watches, **members)
    assert (reported.cursor, reported.HasField("event")) == (f"{STORE}:{position}", is_event)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("13", "'13' is not a cursor, such as"),
        (f"{STORE}:", "is not a cursor"),
        (f"{STORE}:-1", "is not a cursor"),
        (f"{STORE}:01", "is not a cursor"),
        (f"{STORE.upper()}:1", "is not a cursor"),
        (f"{STORE}:1\n", "is not a cursor"),
        (f"{STORE}:{'9' * 19}", "is not a cursor"),
        (f"{STORE}:\u0661", "is not a cursor"),
        (f"{'f' * 16}:12", "is a cursor of another store"),
        (f"{STORE}:14", f"is beyond the newest event, {STORE}:13"),
    ],
)
async def test_a_bad_cursor_is_named(watchers: Watchers, watches: Watches, text: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await first(watches, cursor=text)
    (violation,) = raised.value.violations
    assert violation.field == "cursor"
    assert said in violation.description
    assert watchers.feed.is_idle


async def test_an_expired_cursor_names_the_oldest(watchers: Watchers, watches: Watches) -> None:
    with pytest.raises(CursorExpired) as raised:
        await first(watches, cursor=f"{STORE}:9")
    assert raised.value.metadata == {"oldest_cursor": f"{STORE}:10"}
    assert watchers.feed.is_idle


async def test_all_bad_values_are_named_together(watches: Watches) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await first(watches, project_id="a b", backup_id="x", kind="removed", cursor="y")
    assert [each.field for each in raised.value.violations] == ["project_id", "backup_id", "kind", "cursor"]


async def test_a_store_that_cannot_be_read_opens_no_watch(watchers: Watchers, watches: Watches) -> None:
    watchers.log.failure = failing(Unavailable)
    with pytest.raises(Unavailable):
        await first(watches)
    assert watchers.feed.is_idle


@pytest.mark.parametrize(("who", "sees"), [(MEMBER, ""), (SERVICE, "gina"), (ADMIN, "gina")])
async def test_a_recipient_does_not_see_who_shared(watches: Watches, who: Principal, sees: str) -> None:
    reported = (await first(watches, who, project_id=RECIPIENT, from_beginning=True)).event
    assert (reported.by_user_id, reported.from_project_id, reported.to_project_id) == (sees, GIVER, RECIPIENT)
    assert bool(reported.by_project_id) is bool(reported.request_id) is reported.HasField("by_user_id") is bool(sees)


def test_a_cursor_is_read_as_it_was_written() -> None:
    assert cursor.decode(cursor.encode(STORE, 1042)) == (STORE, 1042)
    assert cursor.decode(cursor.encode(STORE, 0)) == (STORE, 0)
