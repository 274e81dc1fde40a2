"""The breaker opens after a failed trial of the server's own, never because of requests that callers choose."""

from __future__ import annotations

import pytest

from backup_sharing.identity.breaker import Breaker
from tests.support.seconds import Seconds


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def breaker(clock: Seconds) -> Breaker:
    return Breaker(3, 2.0, clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def test_failures_alone_never_open_it(breaker: Breaker) -> None:
    fail(breaker, 100)
    assert not breaker.is_open


def test_a_trial_is_due_after_so_many_failures(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert not breaker.takes_trial()
    fail(breaker, 1)
    assert breaker.takes_trial()


def test_one_trial_at_a_time(breaker: Breaker, clock: Seconds) -> None:
    fail(breaker, 3)
    assert breaker.takes_trial()
    clock.now += 100
    assert not breaker.takes_trial()


def test_a_trial_that_is_answered_leaves_it_closed(breaker: Breaker) -> None:
    fail(breaker, 3)
    assert breaker.takes_trial()
    breaker.tried(answered=True)
    assert not breaker.is_open
    fail(breaker, 2)
    assert not breaker.takes_trial()


def test_trials_have_a_pause_between_them_whatever_fails(breaker: Breaker, clock: Seconds) -> None:
    fail(breaker, 3)
    assert breaker.takes_trial()
    breaker.tried(answered=True)
    fail(breaker, 50)
    assert not breaker.takes_trial()
    clock.now += 2
    assert breaker.takes_trial()


def test_a_trial_that_fails_opens_it_until_one_is_answered(breaker: Breaker, clock: Seconds) -> None:
    breaker.tried(answered=False)
    assert breaker.is_open
    assert not breaker.takes_trial()
    clock.now += 2
    assert breaker.takes_trial()
    assert breaker.is_open
    breaker.tried(answered=True)
    assert not breaker.is_open
