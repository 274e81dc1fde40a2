"""A short siege: each attack of `bench.siege`, and what no noise of the machine can move of what it came to.

Bounded are the memory of both programs over that before the attack, and the bytes of log for each attacking byte;
others are all answered, nobody is told of a defect, and no token is logged. Time is measured by ``make siege``.
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
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak memory"),
]

MEMORY_MB = 300
LOG_RATIO = 1.0
DEFECTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "HTTP 500", "the attacker failed"}
"""What nobody may bring a server to say."""

SMALL_CALLS = {"lists-by-name", "shares", "large-lists", "unread-lists", "unread-pages", "page-tokens"}
"""Calls of a project that is known, each with its line in the log, which is larger than the call: there the log is not
bounded by the bytes that came, but by what one project may ask for."""

ANYWHERE = Cores(frozenset(), frozenset())
SHORT = Size(warm=0.3, alone=0.7, attack=1.5, rate=20, scale=0.25)

Besieged = Callable[[Place], Pair]


@pytest.fixture(scope="module")
def others() -> Iterator[Observers]:
    with observers(ANYWHERE) as process:
        yield process


@pytest.fixture(scope="module")
def besieged() -> Iterator[Besieged]:
    """One server with its gateway for all attacks that find the same there."""
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
    assert figures.log_ratio <= LOG_RATIO or figures.attack in SMALL_CALLS
    assert not figures.secret_logged
    assert not DEFECTS & figures.tally.keys()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_bounded_and_others_are_answered(name: str, besieged: Besieged, others: Observers) -> None:
    assert_bounded(measure_on(besieged(ATTACKS[name].place), name, SHORT, ANYWHERE, others, "SQLite"))


@pytest.mark.parametrize("name", ["page-tokens", "lists-by-name"])
def test_an_attack_on_postgres_is_bounded(name: str, others: Observers, database_url: str) -> None:
    assert_bounded(measure(name, SHORT, ANYWHERE, others, database_url))
