"""The feed: one reader of the log, and watches at its head and behind it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from backup_sharing.errors import CursorExpired, Unavailable
from backup_sharing.store.interface import StoredEvent
from backup_sharing.usecases.watching.feed import KEPT, PIECE, POLL_SECONDS, UNREADABLE_SECONDS
from backup_sharing.usecases.watching.watch import Watch
from backupsharing.v2 import backup_access_pb2 as pb
from tests.server.identities import BACKUP, GIVER, OTHER, OUTSIDER, RECIPIENT, SECOND_BACKUP, projects
from tests.server.watching.fakes import STORE, Watchers, event, failing, positions, took


@pytest.fixture
def watchers() -> Watchers:
    return Watchers()


async def first(watch: Watch) -> pb.WatchSharingsResponse:
    (message,) = await watch.read()
    return pb.WatchSharingsResponse.FromString(message)


async def test_a_watch_from_now_first_tells_where_it_is(watchers: Watchers) -> None:
    watchers.log.add(event(), event())
    reported = await first(watchers.open())
    assert reported.cursor.endswith(":2")
    assert not reported.HasField("event")


async def test_a_commit_in_this_process_needs_no_timer(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    watchers.commit(event())
    assert positions(await took(watch, 1)) == [1]


async def test_a_commit_of_another_process_is_found_by_the_poll(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    reading = asyncio.create_task(took(watch, 1))
    await watchers.timers.fire_when_set(POLL_SECONDS)
    watchers.log.add(event())
    await watchers.timers.fire_when_set(POLL_SECONDS)
    assert positions(await reading) == [1]


async def test_nobody_watching_means_no_read(watchers: Watchers) -> None:
    watchers.commit(event())
    await asyncio.sleep(0)
    assert watchers.feed.is_idle
    watch = watchers.open()
    await watchers.log.until_read()
    watch.close()
    assert watchers.feed.is_idle
    await asyncio.sleep(0)
    reads = watchers.log.reads
    watchers.commit(event())
    for _ in range(10):
        await asyncio.sleep(0)
    assert (watchers.log.reads, list(watchers.timers.waiting)) == (reads, [])


async def test_many_watches_share_one_reader_and_each_encoding(watchers: Watchers) -> None:
    watches = [watchers.open(project) for project in (None, GIVER, RECIPIENT) for _ in range(50)]
    for watch in watches:
        await first(watch)
    reading = [asyncio.create_task(took(watch, 3)) for watch in watches]
    await asyncio.sleep(0)
    watchers.commit(event(), event(), event())
    for taken in await asyncio.gather(*reading):
        assert positions(taken) == [1, 2, 3]
    assert sorted(watchers.encoding.encoded, key=str) == sorted(
        [(position, viewer) for position in (1, 2, 3) for viewer in (None, RECIPIENT)], key=str
    )
    assert watchers.log.pages == 0


async def test_a_watch_is_not_woken_by_events_of_others(watchers: Watchers) -> None:
    quiet, busy = watchers.open(OUTSIDER), watchers.open()
    await first(quiet)
    reading = asyncio.create_task(quiet.read())
    await asyncio.sleep(0)
    watchers.commit(event(), event(None))
    assert positions(await took(busy, 2)) == [1, 2]
    assert not reading.done()
    await watchers.timers.fire_when_set(30.0)
    (checkpoint,) = await reading
    assert pb.WatchSharingsResponse.FromString(checkpoint).cursor.endswith(":2")


async def test_filters_by_backup_and_kind_hold_at_the_head_and_behind(watchers: Watchers) -> None:
    mixed = (event(), event(backup_id=SECOND_BACKUP), event(kind="cancelled"), event(None, kind="backup_put"))
    watchers.log.add(*mixed)
    behind = watchers.open(GIVER, 0, backup_id=BACKUP, kind="cancelled")
    at_head = watchers.open(GIVER, backup_id=BACKUP, kind="cancelled")
    await first(at_head)
    watchers.commit(*mixed)
    assert positions(await took(behind, 2)) == [3, 7]
    assert positions(await took(at_head, 1)) == [7]


async def test_a_watch_from_the_beginning_meets_the_head_without_gap(watchers: Watchers) -> None:
    watchers.log.add(*(event() for _ in range(3 * PIECE + 5)))
    watch = watchers.open(RECIPIENT, 0)
    taken: list[int] = []
    for _ in range(40):
        taken += positions(await took(watch, 1))
        watchers.commit(*(event() for _ in range(7)))
    while taken[-1] < watchers.log.events[-1].position:
        taken += positions(await took(watch, 1))
    assert taken == list(range(1, watchers.log.events[-1].position + 1))


async def test_past_events_come_first_though_the_feed_is_late(watchers: Watchers) -> None:
    early = watchers.open()
    await first(early)
    watchers.log.add(event(), event(to=OTHER))  # by another process: the feed reads them later
    behind, of_another = watchers.open(RECIPIENT, 0), watchers.open(OUTSIDER, 0)
    assert positions([await first(behind)]) == [1]
    reported = await first(of_another)
    assert (reported.cursor[-2:], reported.HasField("event")) == (":2", False)
    assert watchers.feed.head == 0
    reading = [asyncio.create_task(took(watch, 1)) for watch in (behind, early)]
    await asyncio.sleep(0)
    watchers.commit(event())
    assert [positions(each) for each in await asyncio.gather(*reading)] == [[3], [1, 2, 3]]


async def test_a_commit_while_a_page_is_read_is_sent_once(watchers: Watchers) -> None:
    watchers.log.add(event())
    watchers.log.hold = asyncio.Event()
    watch = watchers.open(RECIPIENT, 0)
    reading = asyncio.create_task(took(watch, 3))
    await watchers.log.until_read()
    watchers.commit(event(), event())
    await watchers.log.until_read()
    watchers.log.hold.set()
    taken = positions(await reading)
    watchers.commit(event())
    assert taken + positions(await took(watch, 1)) == [1, 2, 3, 4]


async def test_a_watch_that_does_not_read_holds_nothing(watchers: Watchers) -> None:
    stalled, reader = watchers.open(RECIPIENT), watchers.open(RECIPIENT)
    await first(stalled)
    await first(reader)
    for _ in range(2 * KEPT // 100 + 2):
        watchers.commit(*(event() for _ in range(100)))
        await took(reader, 100)
    pages = watchers.log.pages
    count = watchers.log.events[-1].position
    taken = positions(await took(stalled, count))
    assert taken == list(range(1, count + 1))
    assert watchers.log.pages > pages, "the stalled watch read its own pages"


async def test_a_watch_takes_no_more_than_a_piece_at_once(watchers: Watchers) -> None:
    watchers.log.add(*(event() for _ in range(3 * PIECE)))
    behind = watchers.open(None, 0)
    at_head = watchers.open()
    await first(at_head)
    watchers.commit(*(event() for _ in range(3 * PIECE)))
    assert len(await behind.read()) <= PIECE
    assert len(await at_head.read()) <= PIECE


async def test_a_share_with_many_recipients_wakes_each_of_them_once(watchers: Watchers) -> None:
    recipients = projects(1000)
    watches = [watchers.open(project) for project in recipients]
    for watch in watches:
        await first(watch)
    reading = [asyncio.create_task(took(watch, 1)) for watch in watches]
    await asyncio.sleep(0)
    watchers.commit(*(event(project) for project in recipients))
    assert [positions(taken) for taken in await asyncio.gather(*reading)] == [[each] for each in range(1, 1001)]
    assert len(watchers.encoding.encoded) == 1000


async def test_a_checkpoint_comes_again_and_again_on_a_quiet_store(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    for _ in range(3):
        reading = asyncio.create_task(first(watch))
        await watchers.timers.fire_when_set(30.0)
        assert not (await reading).HasField("event")


async def test_a_failing_read_is_repeated_and_nothing_is_lost(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    reading = asyncio.create_task(took(watch, 1))
    watchers.log.failure = failing(Unavailable)
    watchers.commit(event())
    await watchers.log.until_read()
    watchers.log.failure = None
    watchers.feed.hint()
    assert positions(await reading) == [1]


@pytest.mark.parametrize("failure", [failing(Unavailable), ZeroDivisionError()])
async def test_a_log_that_stays_unreadable_ends_the_watches(watchers: Watchers, failure: Exception) -> None:
    watch = watchers.open()
    await first(watch)
    reading = asyncio.create_task(watch.read())
    watchers.log.failure = failure
    for _ in range(20):  # however often it is read
        await watchers.log.until_read()
        await asyncio.sleep(0)
        watchers.feed.hint()
    assert not reading.done()
    watchers.now += UNREADABLE_SECONDS
    watchers.feed.hint()
    with pytest.raises(Unavailable, match="continue with the last cursor"):
        await reading


async def test_a_log_that_is_read_in_between_ends_no_watch(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    reading = asyncio.create_task(took(watch, 1))
    for failure in (failing(Unavailable), None) * 3:
        watchers.log.failure = failure
        watchers.now += UNREADABLE_SECONDS * 0.6
        watchers.feed.hint()
        await watchers.log.until_read()
        await asyncio.sleep(0)
    watchers.commit(event())
    assert positions(await reading) == [1]


async def test_events_deleted_before_they_are_read_end_the_watch(watchers: Watchers) -> None:
    watchers.log.add(*(event() for _ in range(10)))
    watch = watchers.open(RECIPIENT, 2)
    watchers.log.purge(5)
    with pytest.raises(CursorExpired) as raised:
        await watch.read()
    assert raised.value.metadata == {"oldest_cursor": "0123456789abcdef:5"}


async def opened_and_dropped(watchers: Watchers, project: str) -> weakref.ref[Watch]:
    watch = watchers.open(project)
    await first(watch)
    reading = asyncio.create_task(watch.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    watch.close()
    return weakref.ref(watch)


async def test_a_closed_watch_leaves_nothing_behind(watchers: Watchers) -> None:
    stays = watchers.open()
    await first(stays)
    gone = [await opened_and_dropped(watchers, project) for project in projects(100)]
    await asyncio.sleep(0)
    gc.collect()
    assert [each for each in gone if each() is not None] == []
    assert watchers.feed._waiting == {}
    assert {timer.seconds for timer in watchers.timers.waiting} <= {POLL_SECONDS}


async def test_the_feed_begins_anew_after_its_last_watch(watchers: Watchers) -> None:
    watch = watchers.open()
    await first(watch)
    watch.close()
    watchers.commit(event(OTHER))
    watch = watchers.open(OTHER, 0)
    assert positions(await took(watch, 1)) == [1]
    watchers.commit(event(OTHER))
    assert positions(await took(watch, 1)) == [2]
    watch.close()


async def test_events_deleted_before_the_feed_read_them_are_missed(watchers: Watchers) -> None:
    waiting, quiet = watchers.open(), watchers.open(OUTSIDER)
    reading = []
    for watch in (waiting, quiet):
        await first(watch)
        reading.append(asyncio.create_task(watch.read()))
    await asyncio.sleep(0)
    watchers.log.add(event(), event())
    watchers.log.purge(2)
    watchers.commit(event())
    for each in reading:
        with pytest.raises(CursorExpired) as raised:
            await each
        assert raised.value.metadata == {"oldest_cursor": f"{STORE}:2"}
    assert positions(await took(watchers.open(None, 2), 1)) == [3]


async def test_numbers_that_were_never_given_end_no_watch(watchers: Watchers) -> None:
    watchers.log.add(event())
    watch = watchers.open()
    await first(watch)
    reading = asyncio.create_task(took(watch, 2))
    await asyncio.sleep(0)
    watchers.log.events += [StoredEvent(5, event()), StoredEvent(9, event())]
    watchers.feed.hint()
    assert positions(await reading) == [5, 9]
