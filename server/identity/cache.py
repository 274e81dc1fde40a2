"""What was learned about tokens, for a while: a token is asked about once, however many calls bring it."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server.errors import Overloaded, ProjectForbidden, TokenInvalid
from server.model import Principal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an identity service says about a token."""

    principal: Principal | None
    """Whose it is; None: the token is refused."""
    expires_at: float = 0.0
    """Seconds since 1970 from which it is good no more."""
    refusal: str = ""
    """Why a token that is genuine is good for nothing here; empty: it is not genuine, or it is good."""


@dataclass(frozen=True, slots=True)
class _Entry:
    verdict: Verdict
    until: float
    """Reading of the monotonic clock."""


class TokenCache:
    """Verdicts by token, bounded in number and in time. Holds digests with a key of its own, never tokens."""

    def __init__(
        self,
        ask: Callable[[str, str], Awaitable[Verdict]],
        *,
        seconds: float,
        refused_seconds: float,
        most: int,
        most_asked: int,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Keep what ``ask`` says of a token.

        Args:
            ask: the identity service, about a token and for a client by its address; what it raises is told to all who
                wait for it, and not kept.
            seconds: for which a good token is believed, counted from when it was asked about: so long at most does
                a token work that was revoked.
            refused_seconds: for which a refused token is refused without asking again.
            most: tokens that are kept; those that were not seen for longest go first.
            most_asked: tokens that are being asked about at once; more are `Overloaded`.
            monotonic: seconds by a clock that is never set.
            clock: seconds since 1970.
        """
        self._ask = ask
        self._seconds = seconds
        self._refused_seconds = refused_seconds
        self._most = most
        self._most_asked = most_asked
        self._monotonic = monotonic
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Verdict]] = {}

    async def principal(self, token: str, client: str = "") -> Principal:
        """Answer whose token this is that came from a client, if its address is known.

        Raises:
            TokenInvalid: it is unknown, revoked or expired.
            ProjectForbidden: it belongs to no project.
            Overloaded: too many tokens are being asked about.
        """
        digest = hmac.digest(self._key, token.encode(), "sha256")
        verdict = self._kept(digest)
        if verdict is None:
            task = self._asked.get(digest)
            if task is None:
                if len(self._asked) >= self._most_asked:
                    raise Overloaded("Too many tokens are being checked; try again later.")
                task = self._asked[digest] = asyncio.create_task(self._learn(digest, token, client))
                task.add_done_callback(lambda done: self._forget_asking(digest, done))
            # A caller that goes away must not take the answer from the others that wait for it.
            verdict = await asyncio.shield(task)
        if verdict.refusal:
            raise ProjectForbidden(verdict.refusal)
        if verdict.principal is None or verdict.expires_at <= self._clock():
            raise TokenInvalid("The token is unknown or has expired.")
        return verdict.principal

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _kept(self, digest: bytes) -> Verdict | None:
        entry = self._known.get(digest)
        if entry is None:
            return None
        if self._monotonic() >= entry.until:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return entry.verdict

    async def _learn(self, digest: bytes, token: str, client: str) -> Verdict:
        asked_at = self._monotonic()
        verdict = await self._ask(token, client)
        good = verdict.principal is not None
        self._known[digest] = _Entry(verdict, asked_at + (self._seconds if good else self._refused_seconds))
        self._known.move_to_end(digest)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return verdict

    def _forget_asking(self, digest: bytes, task: asyncio.Task[Verdict]) -> None:
        del self._asked[digest]
        if not task.cancelled():
            task.exception()  # those who waited have it; there may be none left
