"""Queues for requests to the identity service, so that no caller uses up the capacity that others need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backup_sharing.errors import Overloaded
from backup_sharing.fair_queue import FairQueue, Turn

_TOO_MANY = "Too many tokens are being checked; try again later."

_TOO_MANY_OF_ONE = "{most} tokens from this address wait to be checked, the most that may; try again later."


class ValidationQueues:
    """Three queues, each with its own slots; within a queue, keys take turns.

    - Tokens that were valid at their last validation: known callers stay authenticated under a flood of new tokens.
    - New tokens: clients take turns by address.
    - New tokens from addresses with too many invalid ones: a valid token is still validated, a little later.
    """

    def __init__(self, at_once: int, waiting_of_one: int) -> None:
        """Divide ``at_once`` concurrent requests, at least 3; at most ``waiting_of_one`` tokens per address wait."""
        known, suspected = max(1, at_once // 4), max(1, at_once // 8)
        new = at_once - known - suspected
        self._known = FairQueue(slots=known, per_key=1, waiting_per_key=1)
        self._new, self._suspected = (
            FairQueue(slots=slots, per_key=max(1, slots // 2), waiting_per_key=waiting_of_one, refusal=_TOO_MANY_OF_ONE)
            for slots in (new, suspected)
        )

    def known(self, token: str) -> Turn:
        """Return the turn of a token that was valid; ``token`` is a digest of the token."""
        return self._known.turn(token)

    def new(self, client: str, *, is_suspect: bool) -> Turn:
        """Return the turn of a new token; entering raises `Overloaded` if too many tokens of this client wait."""
        return (self._suspected if is_suspect else self._new).turn(client)


class WaitingLimits:
    """Limits waiting calls, in total and per client, because each counts as a call in progress."""

    def __init__(self, most: int, of_one: int) -> None:
        """Allow ``most`` waiting calls in total, and ``of_one`` per client."""
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Count a waiting call.

        Raises:
            Overloaded: too many calls wait.
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
