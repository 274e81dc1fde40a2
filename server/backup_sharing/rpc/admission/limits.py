"""Limits for one project, and for one client address with invalid credentials."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from backup_sharing.errors import Overloaded

_NETWORK_BITS = 64
"""Prefix length of an IPv6 network that counts as one client, because a client can use all addresses of its network."""

_MOST_KEYS = 10_000
"""Maximum projects or clients in a `Rate`; the least recently used is evicted first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on calls; 0: no limit."""

    calls: int = 4096
    """Maximum calls in progress, in total."""
    calls_of_project: int = 0
    """Maximum calls in progress of one project."""
    rate_of_project: float = 0.0
    """Maximum calls per second of one project, on average; a burst may have one second's calls."""
    failed_identities: float = 0.0
    """Maximum calls per minute of one client with invalid credentials; a burst may have one minute's calls."""


def client_of(address: str) -> str:
    """Return the client of an address: the IPv4 address, or the network of an IPv6 address; empty if unknown."""
    if ":" not in address:
        return address
    text = address.removeprefix("%5B").removesuffix("%5D").strip("[]").partition("%")[0]
    try:
        parsed = ipaddress.IPv6Address(text)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> _NETWORK_BITS << _NETWORK_BITS))


class Rate:
    """A rate limit by key: the generic cell rate algorithm."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        """Allow ``burst`` uses at once and ``per_second`` on average, by a monotonic clock in seconds."""
        self._interval = 1 / per_second
        self._tolerance = (burst - 0.5) * self._interval  # halfway between two uses, because float sums are inexact
        self._clock = clock
        self._paid_until: OrderedDict[str, float] = OrderedDict()

    def is_used_up(self, key: str) -> bool:
        """Return whether one more use would exceed the rate."""
        return self._paid_until.get(key, 0.0) - self._clock() > self._tolerance

    def use(self, key: str) -> None:
        """Count a use."""
        self._paid_until[key] = max(self._paid_until.pop(key, 0.0), self._clock()) + self._interval
        if len(self._paid_until) > _MOST_KEYS:
            self._paid_until.popitem(last=False)


class Limiter:
    """Refuses calls beyond the limits with `Overloaded`."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        """Enforce these limits, by a monotonic clock in seconds."""
        self._limits = limits
        self._calls = 0
        self._by_project: dict[str, int] = {}
        rate, failed = limits.rate_of_project, limits.failed_identities
        self._rate = Rate(rate, max(rate, 1.0), clock) if rate else None
        self._failed = Rate(failed / 60, max(failed, 1.0), clock) if failed else None

    @property
    def in_progress(self) -> int:
        """Number of calls in progress."""
        return self._calls

    def enter(self) -> None:
        """Count a call in progress; each must be followed by `leave`.

        Raises:
            Overloaded: too many calls are in progress.
        """
        if self._calls >= self._limits.calls:
            raise Overloaded("More calls are in progress than the server takes on; try again later.")
        self._calls += 1

    def leave(self) -> None:
        """End a call in progress."""
        self._calls -= 1

    def enter_project(self, project_id: str) -> None:
        """Count a call in progress of a project; calls without a project count together, under the empty id.

        Raises:
            Overloaded: the project exceeds its calls in progress or its rate.
        """
        most, calls = self._limits.calls_of_project, self._by_project.get(project_id, 0)
        if most and calls >= most:
            raise Overloaded(f"The project has {most} calls in progress, the most it may; try again later.")
        if self._rate is not None:
            if self._rate.is_used_up(project_id):
                rate = f"{self._limits.rate_of_project:g}"
                raise Overloaded(f"The project makes more than {rate} calls a second; try again later.")
            self._rate.use(project_id)
        self._by_project[project_id] = calls + 1

    def leave_project(self, project_id: str) -> None:
        """End a call in progress of a project."""
        calls = self._by_project.pop(project_id) - 1
        if calls:
            self._by_project[project_id] = calls

    def is_suspect(self, client: str) -> bool:
        """Return whether a client sent too many invalid credentials; an unknown (empty) client is never suspect."""
        return self._failed is not None and bool(client) and self._failed.is_used_up(client)

    def identity_failed(self, client: str) -> None:
        """Count an invalid credential.

        Raises:
            Overloaded: the client sent too many; this error replaces the report that the credential is invalid.
        """
        if self._failed is None or not client:
            return
        if self._failed.is_used_up(client):
            raise Overloaded("Too many credentials from this address were not good; try again later.")
        self._failed.use(client)
