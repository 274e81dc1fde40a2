"""Readiness of a program: its checks, and whether it starts, serves or drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from programkit.rate_limited_log import RateLimitedLog

_CHECK_SECONDS: Final = 2.0
"""Maximum seconds for a check; a check without a result by then failed."""

_POLL_SECONDS: Final = 60.0
"""Seconds since the last poll during which another poll is expected."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The result of a check."""

    ok: bool
    """Whether the program can do its work, as far as this check knows."""
    reason: str = ""
    """Why it is not ok. If it is ok, what is restricted; empty: nothing."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More that an operator may want to know, as JSON values."""

    def document(self, check: str, *, verbose: bool) -> dict[str, Any]:
        """Return the result of the named check as JSON value."""
        degraded = {"degraded": True} if self.ok and self.reason else {}
        details = {"details": dict(self.details)} if verbose and self.details else {}
        return {"name": check, "ok": self.ok, **degraded, "reason": self.reason, **details}


Check = Callable[[], Awaitable[Condition]]
"""Returns a condition from what the program knows already; polls must not cause work elsewhere."""


class Readyz:
    """Not ready while the program starts and while it drains; in between ready if all checks are ok."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin as a program that starts; ``clock`` returns monotonic seconds."""
        self._clock = clock
        self._checks: Mapping[str, Check] | None = None
        self._is_draining = False
        self._polled_at: float | None = None
        self._log = RateLimitedLog("programkit.admin_port", burst=5, per_second=0.1)

    @property
    def is_polled(self) -> bool:
        """Return whether somebody polled lately, and so will see that this process is about to stop."""
        return self._polled_at is not None and self._clock() - self._polled_at < _POLL_SECONDS

    def serve(self, checks: Mapping[str, Check]) -> None:
        """The program has started: report the result of these checks from now on."""
        self._checks = checks

    def drain(self) -> None:
        """The program is about to stop: report that it is not ready from now on."""
        self._is_draining = True

    async def document(self, *, verbose: bool) -> tuple[bool, dict[str, Any]]:
        """Return whether the program is ready, and what all checks found, as JSON value."""
        self._polled_at = self._clock()
        if self._checks is None and not self._is_draining:
            starting = Condition(ok=False, reason="The program starts.")
            return False, {"status": "starting", "checks": [starting.document("starting", verbose=verbose)]}
        checks = self._checks or {}
        found = dict(zip(checks, await asyncio.gather(*map(self._result, checks, checks.values())), strict=True))
        found["draining"] = Condition(ok=True)
        if self._is_draining:
            found["draining"] = Condition(ok=False, reason="The program is about to stop.")
        is_ready = all(one.ok for one in found.values())
        status = "draining" if self._is_draining else "ready" if is_ready else "not ready"
        return is_ready, {"status": status, "checks": [one.document(it, verbose=verbose) for it, one in found.items()]}

    async def _result(self, name: str, check: Check) -> Condition:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return await check()
        except TimeoutError:
            return Condition(ok=False, reason=f"The check had no result within {_CHECK_SECONDS:g} seconds.")
        except Exception as error:  # noqa: BLE001 - a defect of one check must not hide the others
            self._log.warning("a check failed", check=name, exc_info=error)
            return Condition(ok=False, reason="The check failed because of a defect; the log has the cause.")
