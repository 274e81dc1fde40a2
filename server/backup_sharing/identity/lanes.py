"""Whose questions go to the identity service next, so that no caller's questions use up what others need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backup_sharing.errors import Overloaded
from backup_sharing.fair_queue import FairQueue, Turn

_TOO_MANY = "Too many tokens are being checked; try again later."

_TOO_MANY_OF_ONE = "{most} tokens from this address wait to be checked, the most that may; try again later."


class Lanes:
    """Three lanes of questions, each with slots of its own; in each of them keys take turns.

    - Tokens that were good when they were last asked about: whoever is known stays known, whatever strangers send.
    - Tokens that are new: clients take turns by their address.
    - New tokens from addresses that sent too many bad ones: a good one among them is found, a little later.
    """

    def __init__(self, at_once: int, waiting_of_one: int) -> None:
        """Share out the questions that are asked ``at_once``, at least 3; ``waiting_of_one`` address are let wait."""
        known, suspected = max(1, at_once // 4), max(1, at_once // 8)
        new = at_once - known - suspected
        self._known = FairQueue(slots=known, per_key=1, waiting_per_key=1)
        self._new, self._suspected = (
            FairQueue(slots=slots, per_key=max(1, slots // 2), waiting_per_key=waiting_of_one, refusal=_TOO_MANY_OF_ONE)
            for slots in (new, suspected)
        )

    def known(self, token: str) -> Turn:
        """The turn of a token that was good; ``token`` is a name for it."""
        return self._known.turn(token)

    def new(self, client: str, *, is_suspect: bool) -> Turn:
        """The turn of a new token; entering it raises `Overloaded` if too many of this client wait."""
        return (self._suspected if is_suspect else self._new).turn(client)


class Places:
    """Bounds how many calls wait for an answer, in all and of one client: each holds a place among all calls."""

    def __init__(self, most: int, of_one: int) -> None:
        """Give out ``most`` places, ``of_one`` client so many of them."""
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Hold a place.

        Raises:
            Overloaded: there is none.
        """
        if self._all >= self._most or self._taken[client] >= self._of_one:
            raise Overloaded(_TOO_MANY)
        self._all += 1
        self._taken[client] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
