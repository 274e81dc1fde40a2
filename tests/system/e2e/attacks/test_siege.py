"""Short siege: each attack of `bench.siege`, with checks that do not depend on the machine's speed.

The checks bound the memory growth of both programs and the log bytes per attack byte; every other client gets replies,
no response reports a defect, and no token is logged. ``make siege`` measures times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bench.processes import Cores
from bench.siege.catalogue import ATTACKS, Place
from bench.siege.filling import fill
from bench.siege.measure import Figures, Observers, Size, measure, measure_on, observers
from bench.siege.pair import Pair, pair

pytestmark = [
    pytest.mark.resilience,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]

MEMORY_MB = 300
LOG_RATIO = 1.0
LOG_BURST = 100_000
"""Bytes that both programs may log before they leave out lines: 100 lines of 500 bytes each. A slow machine sends so
few requests in a short attack that these lines are most of the log."""

DEFECTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "HTTP 500", "the attacker failed"}
"""Statuses that no attack may cause."""

SMALL_CALLS = {"lists-by-name", "shares", "large-lists", "unread-lists", "unread-pages", "page-tokens"}
"""Small calls of an authenticated project. Each call has a log line larger than the call, so the log is bounded by the
limits of a project and not by the bytes received."""

ANYWHERE = Cores(frozenset(), frozenset())
SHORT = Size(warm=0.3, alone=0.7, attack=1.5, rate=20, scale=0.25)

Besieged = Callable[[Place], Pair]


@pytest.fixture(scope="module")
def others() -> Iterator[Observers]:
    with observers(ANYWHERE) as process:
        yield process


@pytest.fixture(scope="module")
def besieged() -> Iterator[Besieged]:
    """Return one server with its gateway per place; attacks with the same place share the pair."""
    made: dict[Place, Pair] = {}
    with ExitStack() as stack:

        def pair_for(place: Place) -> Pair:
            if place not in made:
                made[place] = stack.enter_context(pair(place, ANYWHERE))
                fill(made[place].target, place)
            return made[place]

        yield pair_for


def assert_bounded(figures: Figures) -> None:
    assert figures.failed == {}
    assert {name: mb for name, mb in figures.over_start_mb.items() if mb > MEMORY_MB} == {}
    assert figures.logged <= LOG_RATIO * figures.sent + LOG_BURST or figures.attack in SMALL_CALLS
    assert not figures.secret_logged
    assert not DEFECTS & figures.tally.keys()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_bounded_and_others_are_answered(name: str, besieged: Besieged, others: Observers) -> None:
    attacked = besieged(ATTACKS[name].place)
    figures = measure_on(attacked, name, SHORT, ANYWHERE, others, "SQLite")
    assert figures.failed == {}, attacked.failures()
    assert_bounded(figures)


@pytest.mark.parametrize("name", ["page-tokens", "lists-by-name"])
def test_an_attack_on_postgres_is_bounded(name: str, others: Observers, database_url: str) -> None:
    assert_bounded(measure(name, SHORT, ANYWHERE, others, database_url))
