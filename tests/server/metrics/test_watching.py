"""Metrics of watches: how far they are behind, and the delay of events."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from backup_sharing.errors import Unavailable
from backup_sharing.metrics.server import ServerMetrics
from backup_sharing.store.engine import system_clock
from backup_sharing.usecases.watching.feed import Feed
from tests.server.identities import OTHER, RECIPIENT
from tests.server.watching.fakes import Watchers, event, failing, took, turn


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def watchers() -> Watchers:
    return Watchers()


@pytest.mark.parametrize(("age", "at_least", "at_most"), [(3.0, 3.0, 1000.0), (-500.0, 0.0, 0.0)])
def test_the_delay_of_an_event_is_its_age(
    registry: CollectorRegistry, age: float, at_least: float, at_most: float
) -> None:
    """An event of the future, by the database's clock, has no delay."""
    metrics = ServerMetrics(registry, "sqlite", {}, (), ())
    metrics.event_read(system_clock() - round(age * 1_000_000))
    assert registry.get_sample_value("backup_sharing_event_delay_seconds_count") == 1
    assert at_least <= (registry.get_sample_value("backup_sharing_event_delay_seconds_sum") or 0) <= at_most


async def test_a_watch_that_waits_is_not_behind(watchers: Watchers) -> None:
    """Events of others do not count either, although the watch's own position stays."""
    watch, other = watchers.open(RECIPIENT), watchers.open(OTHER)
    assert watchers.feed.lag == 0
    await watch.read()
    await other.read()
    watchers.commit(event(RECIPIENT), event(RECIPIENT))
    waiting = await took(watch, 2)
    assert len(waiting) == 2
    assert watchers.feed.lag == 2  # the other one has not been asked for messages since
    watch.close()
    other.close()
    assert watchers.feed.lag == 0


async def test_the_lag_is_that_of_the_slowest_watch(watchers: Watchers) -> None:
    watchers.log.add(event(), event(), event())
    slow, fast = watchers.open(position=0), watchers.open(position=2)
    assert watchers.feed.lag == 3
    await took(slow, 3)
    assert watchers.feed.lag == 1
    await took(fast, 1)
    assert watchers.feed.lag == 0
    slow.close()
    fast.close()
    assert not watchers.feed.watches


async def test_reads_and_failed_reads_are_counted(watchers: Watchers) -> None:
    watch = watchers.open()
    await watch.read()
    assert watchers.feed.failures == 0
    before, watchers.log.failure = watchers.feed.reads, failing(Unavailable)
    watchers.feed.hint()
    await watchers.timers.fire_when_set(0.5)
    assert (watchers.feed.reads > before, watchers.feed.failures) == (True, 1)
    watch.close()


async def test_the_time_of_each_event_is_observed_once(watchers: Watchers) -> None:
    seen: list[int] = []
    watchers.feed = Feed(watchers.log, turn(), watchers.timers, observe=seen.append)
    one, two = watchers.open(), watchers.open()
    await one.read()
    await two.read()
    watchers.commit(event(), event())
    await took(one, 2)
    await took(two, 2)
    assert seen == [event().at] * 2
    one.close()
    two.close()
