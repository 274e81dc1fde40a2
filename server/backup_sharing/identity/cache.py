"""A cache of token validations: concurrent calls with the same token cause one validation."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backup_sharing.errors import Overloaded, ProjectForbidden, TokenInvalid
from backup_sharing.fair_queue import Turn
from backup_sharing.identity.access_rules import AccessRules
from backup_sharing.identity.validation_queues import ValidationQueues, WaitingLimits
from backup_sharing.model import Principal


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a token validation by an identity service."""

    principal: Principal | None
    """The caller; None: the token is refused."""
    expires_at: float = 0.0
    """Expiry of the token, in seconds since 1970."""
    refusal: str = ""
    """Reason to refuse a genuine token; empty: the token is accepted, or is not genuine."""
    access_rules: AccessRules | None = None
    """The requests that the token may be used for; None: all."""
    is_service: bool = False
    """Whether the token may be used as a service token, see `RoleRules.is_service`."""


_MOST_OF_TOKEN = 1000
"""Maximum calls that wait for the validation of one token, because each counts as a call in progress."""


@dataclass(frozen=True, slots=True)
class _Entry:
    verdict: Verdict
    until: float
    """Value of the monotonic clock at which the entry expires."""


@dataclass(slots=True)
class _Pending:
    task: asyncio.Task[Verdict]
    waiting: int = 0


class TokenCache:
    """Verdicts by token, bounded in number and time. Stores keyed digests (HMAC with a random key), never tokens.

    Valid and refused tokens are stored separately, so invalid tokens never evict a valid one.
    """

    def __init__(
        self,
        ask: Callable[[str, str], Awaitable[Verdict]],
        *,
        seconds: float,
        refused_seconds: float,
        most: int,
        queues: ValidationQueues,
        waiting: WaitingLimits,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Cache the verdicts of ``ask``.

        Args:
            ask: validates a token, given the token and the service token or ""; its exceptions are raised to all
                waiting calls, and not cached.
            seconds: lifetime of a valid token in the cache, from the start of its validation: the longest time that
                a revoked token is accepted.
            refused_seconds: lifetime of a refused token in the cache.
            most: maximum number of valid tokens, and of refused tokens; the least recently used is evicted first.
            queues: queues for validations.
            waiting: limit on calls that wait for the validation of a new token.
            monotonic: monotonic clock in seconds.
            clock: seconds since 1970.
        """
        self._ask = ask
        self._seconds = seconds
        self._refused_seconds = refused_seconds
        self._most = most
        self._queues = queues
        self._waiting = waiting
        self._monotonic = monotonic
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, _Entry] = OrderedDict()
        """Valid tokens, including expired entries: their validation has priority over that of new tokens."""
        self._refused: OrderedDict[bytes, _Entry] = OrderedDict()
        self._pending: dict[bytes, _Pending] = {}
        self.hits = 0
        """Number of calls answered from the cache."""
        self.misses = 0
        """Number of calls for which a token had to be validated, or that waited for such a validation."""

    @property
    def accepted_tokens(self) -> int:
        """Number of valid tokens in the cache, including those that have to be validated again."""
        return len(self._good)

    @property
    def refused_tokens(self) -> int:
        """Number of refused tokens in the cache, including expired entries."""
        return len(self._refused)

    @property
    def validating(self) -> int:
        """Number of tokens that are validated now, or wait for that."""
        return len(self._pending)

    async def accepted(
        self,
        token: str,
        client: str = "",
        *,
        is_suspect: bool = False,
        service_token: str = "",
        past_cache: bool = False,
    ) -> Verdict:
        """Return the verdict about an accepted token; its ``principal`` is never None.

        Args:
            token: the token as received.
            client: key by which validations of new tokens take turns.
            is_suspect: whether the client sent too many invalid tokens.
            service_token: an accepted token of a service that acts for the caller; the caller's token may then have
                expired since the caller sent it to that service. Empty: there is none.
            past_cache: whether to validate the token now, whatever the cache has.

        Raises:
            TokenInvalid: the token is unknown, revoked or expired.
            ProjectForbidden: the token belongs to no project.
            Overloaded: too many validations are waiting.
        """
        tokens = (token, service_token)
        # A line break is in no token, so it separates the two.
        digest = hmac.digest(self._key, "\n".join(filter(None, tokens)).encode(), "sha256")
        verdict = None if past_cache else self._kept(digest)
        if verdict is None:
            self.misses += 1
        else:
            self.hits += 1
        if verdict is None and digest in self._good:
            verdict = await self._answer(digest, tokens, self._queues.known(digest.hex()))
        elif verdict is None:
            with self._waiting.one(client):
                verdict = await self._answer(digest, tokens, self._queues.new(client, is_suspect=is_suspect))
        if verdict.refusal:
            raise ProjectForbidden(verdict.refusal)
        is_expired = verdict.expires_at <= self._clock() and not service_token
        if verdict.principal is None or is_expired:
            raise TokenInvalid("The token is unknown or has expired.")
        return verdict

    async def close(self) -> None:
        """Cancel all validations."""
        tasks = [pending.task for pending in self._pending.values()]
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

    async def _answer(self, digest: bytes, tokens: tuple[str, str], turn: Turn) -> Verdict:
        pending = self._pending.get(digest)
        if pending is None:
            pending = self._pending[digest] = _Pending(asyncio.create_task(self._learn(digest, tokens, turn)))
            pending.task.add_done_callback(lambda done: self._forget_pending(digest, done))
        if pending.waiting >= _MOST_OF_TOKEN:
            raise Overloaded("Too many calls wait for this token to be checked; try again later.")
        pending.waiting += 1
        try:
            # The cancellation of one call must not cancel the validation for the other waiting calls.
            return await asyncio.shield(pending.task)
        finally:
            pending.waiting -= 1

    async def _learn(self, digest: bytes, tokens: tuple[str, str], turn: Turn) -> Verdict:
        async with turn:
            began_at = self._monotonic()
            verdict = await self._ask(*tokens)
        if verdict.principal is None:
            self._good.pop(digest, None)
            self._keep(self._refused, digest, _Entry(verdict, began_at + self._refused_seconds))
        else:
            self._refused.pop(digest, None)
            self._keep(self._good, digest, _Entry(verdict, began_at + self._seconds))
        return verdict

    def _keep(self, known: OrderedDict[bytes, _Entry], digest: bytes, entry: _Entry) -> None:
        known[digest] = entry
        known.move_to_end(digest)
        while len(known) > self._most:
            known.popitem(last=False)

    def _forget_pending(self, digest: bytes, task: asyncio.Task[Verdict]) -> None:
        del self._pending[digest]
        if not task.cancelled():
            task.exception()  # waiting calls have raised it; without one, asyncio would log it
