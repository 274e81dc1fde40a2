"""Identifies the callers of long calls again and again, so that a revoked token ends its calls.

Calls with the same credentials share one check.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from backup_sharing.errors import Failure, IdentityUnavailable, Overloaded, TokenInvalid, Unavailable
from backup_sharing.identity.interface import Credentials, IdentityProvider
from backup_sharing.model import Principal
from backup_sharing.rpc.watching.ending import Ending
from backup_sharing.timers import Later, Timer

CHECK_SECONDS: Final = 60.0
"""Seconds between two checks of the same credentials."""

UNCHECKED_SECONDS: Final = 280.0
"""Seconds since the last answer of the identity service after which its silence ends the calls; with the time that the
last question may take, this is less than five minutes."""

_DECISIVE = ("x-auth-token", "authorization", "x-service-token", "x-forwarded-method", "x-forwarded-path")
"""Metadata on which the result of a check depends."""

_log = logging.getLogger(__name__)

Confirm = Callable[[Principal], None]
"""Raises a failure if the caller may no longer make the call."""


@dataclass(slots=True)
class _Check:
    """The check of one caller's credentials."""

    credentials: Credentials
    good_at: float
    """Monotonic time of the last answer of the identity service."""
    calls: dict[Ending, Confirm] = field(default_factory=dict)
    timer: Timer | None = None
    task: asyncio.Task[None] | None = None


class Rechecks:
    """The checks of all long calls of a server."""

    def __init__(
        self, identity: IdentityProvider, later: Later, monotonic: Callable[[], float], *, max_seconds: float
    ) -> None:
        """Check nothing until a call begins.

        Args:
            identity: identifies the callers.
            later: sets timers.
            monotonic: monotonic clock in seconds.
            max_seconds: maximum seconds of a call whose caller cannot be identified again.
        """
        self._identity = identity
        self._later = later
        self._monotonic = monotonic
        self._max_seconds = max_seconds
        self._checks: dict[bytes, _Check] = {}

    @contextmanager
    def of(self, credentials: Credentials, principal: Principal, confirm: Confirm, ending: Ending) -> Iterator[None]:
        """Check a caller, identified just now, until the context ends; end the call if the caller has lost its right.

        The call ends with TokenInvalid if the token is no longer valid or ``confirm`` raises a failure, with
        IdentityUnavailable if the identity service does not answer for too long, and with Unavailable after
        ``max_seconds`` if the caller cannot be identified again.
        """
        if not principal.can_be_identified_again:
            timer = self._later(self._max_seconds, lambda: ending.end(self._too_long()))
            try:
                yield
            finally:
                timer.cancel()
            return
        key = _key(credentials)
        check = self._checks.get(key)
        if check is None:
            # Accepted credentials are checked in the same turn as others, whatever else came from the client's address.
            again = replace(credentials, is_suspect=False)
            check = self._checks[key] = _Check(again, self._monotonic())
            self._set_timer(check)
        check.calls[ending] = confirm
        try:
            yield
        finally:
            del check.calls[ending]
            if not check.calls:
                del self._checks[key]
                _stop(check)

    def check_now(self, concerns: Callable[[Credentials], bool]) -> None:
        """Check the callers whose credentials ``concerns`` accepts at once: these credentials may have been revoked."""
        for check in self._checks.values():
            if concerns(check.credentials):
                _stop(check)
                self._begin(check)

    def _too_long(self) -> Failure:
        return Unavailable(
            f"The watch has lasted {self._max_seconds:g} seconds, and its caller can be identified only by a new call;"
            " continue with the last cursor."
        )

    def _set_timer(self, check: _Check) -> None:
        left = check.good_at + UNCHECKED_SECONDS - self._monotonic()
        check.timer = self._later(max(0.0, min(CHECK_SECONDS, left)), lambda: self._begin(check))

    def _begin(self, check: _Check) -> None:
        check.task = asyncio.create_task(self._check(check))

    async def _check(self, check: _Check) -> None:
        asked_at = self._monotonic()
        try:
            principal = await self._identity.identify_again(check.credentials)
        except (IdentityUnavailable, Overloaded):
            pass
        except Failure as refused:
            for ending in check.calls:
                ending.end(_no_longer(refused))
            return
        except Exception:  # noqa: BLE001 - a defect is like an identity service that does not answer
            _log.exception("a caller could not be identified again because of a defect")
        else:
            check.good_at = asked_at
            _confirm(check, principal)
            self._set_timer(check)
            return
        if asked_at >= check.good_at + UNCHECKED_SECONDS:
            for ending in check.calls:
                ending.end(IdentityUnavailable())
        else:
            self._set_timer(check)


def _confirm(check: _Check, principal: Principal) -> None:
    for ending, confirm in check.calls.items():
        try:
            confirm(principal)
        except Failure as refused:
            ending.end(_no_longer(refused))


def _no_longer(refused: Failure) -> Failure:
    return TokenInvalid(f"The token of the watch is no longer accepted: {refused.message}")


def _stop(check: _Check) -> None:
    if check.timer is not None:
        check.timer.cancel()
    if check.task is not None:
        check.task.cancel()


def _key(credentials: Credentials) -> bytes:
    """Return the same key for credentials that are identified in the same way."""
    decisive = [credentials.metadata.get(name, "") for name in _DECISIVE]
    if not credentials.token:
        decisive += [credentials.peer.address, *credentials.peer.names]
    return hashlib.sha256(repr(decisive).encode()).digest()
