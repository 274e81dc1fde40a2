"""What was learned about tokens, for a while: a token is asked about once, however many calls bring it."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backup_sharing.errors import Overloaded, ProjectForbidden, TokenInvalid
from backup_sharing.fair_queue import Turn
from backup_sharing.identity.lanes import Lanes, Places
from backup_sharing.model import Principal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an identity service says about a token."""

    principal: Principal | None
    """Whose it is; None: the token is refused."""
    expires_at: float = 0.0
    """Seconds since 1970 from which it is good no more."""
    refusal: str = ""
    """Why a token that is genuine is good for nothing here; empty: it is not genuine, or it is good."""


_MOST_OF_TOKEN = 1000
"""Calls with one token that wait for the answer about it: each holds a place among all calls of the server."""


@dataclass(frozen=True, slots=True)
class _Entry:
    verdict: Verdict
    until: float
    """Reading of the monotonic clock."""


@dataclass(slots=True)
class _Asked:
    task: asyncio.Task[Verdict]
    waiting: int = 0


class TokenCache:
    """Verdicts by token, bounded in number and in time. Holds digests with a key of its own, never tokens.

    Good tokens and refused ones are kept apart: however many bad tokens come, they push out no good one.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Verdict]],
        *,
        seconds: float,
        refused_seconds: float,
        most: int,
        lanes: Lanes,
        places: Places,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Keep what ``ask`` says of a token.

        Args:
            ask: the identity service; what it raises is told to all who wait for it, and not kept.
            seconds: for which a good token is believed, counted from when it was asked about: so long at most does
                a token work that was revoked.
            refused_seconds: for which a refused token is refused without asking again.
            most: good tokens that are kept, and refused ones; those that were not seen for longest go first.
            lanes: who is asked about next.
            places: for calls with a new token, while it is asked about.
            monotonic: seconds by a clock that is never set.
            clock: seconds since 1970.
        """
        self._ask = ask
        self._seconds = seconds
        self._refused_seconds = refused_seconds
        self._most = most
        self._lanes = lanes
        self._places = places
        self._monotonic = monotonic
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, _Entry] = OrderedDict()
        """Also those that are to be asked about again: they go before new ones."""
        self._refused: OrderedDict[bytes, _Entry] = OrderedDict()
        self._asked: dict[bytes, _Asked] = {}

    async def principal(self, token: str, client: str = "", *, is_suspect: bool = False) -> Principal:
        """Answer whose token this is.

        Args:
            token: as it came.
            client: by which new tokens take turns.
            is_suspect: whether the client sent too many bad ones.

        Raises:
            TokenInvalid: it is unknown, revoked or expired.
            ProjectForbidden: it belongs to no project.
            Overloaded: too many tokens are being asked about.
        """
        digest = hmac.digest(self._key, token.encode(), "sha256")
        verdict = self._kept(digest)
        if verdict is None and digest in self._good:
            verdict = await self._answer(digest, token, self._lanes.known(digest.hex()))
        elif verdict is None:
            with self._places.one(client):
                verdict = await self._answer(digest, token, self._lanes.new(client, is_suspect=is_suspect))
        if verdict.refusal:
            raise ProjectForbidden(verdict.refusal)
        if verdict.principal is None or verdict.expires_at <= self._clock():
            raise TokenInvalid("The token is unknown or has expired.")
        return verdict.principal

    async def close(self) -> None:
        """Stop asking."""
        tasks = [asked.task for asked in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _kept(self, digest: bytes) -> Verdict | None:
        now = self._monotonic()
        for known in (self._good, self._refused):
            entry = known.get(digest)
            if entry is not None and now < entry.until:
                known.move_to_end(digest)
                return entry.verdict
        return None

    async def _answer(self, digest: bytes, token: str, turn: Turn) -> Verdict:
        asked = self._asked.get(digest)
        if asked is None:
            asked = self._asked[digest] = _Asked(asyncio.create_task(self._learn(digest, token, turn)))
            asked.task.add_done_callback(lambda done: self._forget_asking(digest, done))
        if asked.waiting >= _MOST_OF_TOKEN:
            raise Overloaded("Too many calls wait for this token to be checked; try again later.")
        asked.waiting += 1
        try:
            # A caller that goes away must not take the answer from the others that wait for it.
            return await asyncio.shield(asked.task)
        finally:
            asked.waiting -= 1

    async def _learn(self, digest: bytes, token: str, turn: Turn) -> Verdict:
        async with turn:
            asked_at = self._monotonic()
            verdict = await self._ask(token)
        if verdict.principal is None:
            self._good.pop(digest, None)
            self._keep(self._refused, digest, _Entry(verdict, asked_at + self._refused_seconds))
        else:
            self._refused.pop(digest, None)
            self._keep(self._good, digest, _Entry(verdict, asked_at + self._seconds))
        return verdict

    def _keep(self, known: OrderedDict[bytes, _Entry], digest: bytes, entry: _Entry) -> None:
        known[digest] = entry
        known.move_to_end(digest)
        while len(known) > self._most:
            known.popitem(last=False)

    def _forget_asking(self, digest: bytes, task: asyncio.Task[Verdict]) -> None:
        del self._asked[digest]
        if not task.cancelled():
            task.exception()  # those who waited have it; there may be none left
