"""What one project, or one client that nobody knows, may take of the server."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from backup_sharing.errors import Overloaded

_NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all the addresses of its network."""

_MOST_KEYS = 10_000
"""Projects or clients that are remembered; those that were not seen for longest go first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is too much; 0: no limit."""

    calls: int = 4096
    """In progress, of all together."""
    calls_of_project: int = 0
    """In progress."""
    rate_of_project: float = 0.0
    """Calls a second, on average; at once a second's worth."""
    failed_identities: float = 0.0
    """Calls a minute from one client with a credential that is not good; at once a minute's worth."""


def client_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 address; empty if that is empty."""
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
    """Counts uses by key against a rate: the generic cell rate algorithm."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        """Allow ``burst`` uses at once and ``per_second`` in the long run, by a monotonic clock."""
        self._interval = 1 / per_second
        self._tolerance = (burst - 0.5) * self._interval  # halfway between two uses: sums of floats are not exact
        self._clock = clock
        self._paid_until: OrderedDict[str, float] = OrderedDict()

    def is_used_up(self, key: str) -> bool:
        """Whether one more use would be too much."""
        return self._paid_until.get(key, 0.0) - self._clock() > self._tolerance

    def use(self, key: str) -> None:
        """Count a use."""
        self._paid_until[key] = max(self._paid_until.pop(key, 0.0), self._clock()) + self._interval
        if len(self._paid_until) > _MOST_KEYS:
            self._paid_until.popitem(last=False)


class Gate:
    """Refuses what is beyond the limits as `Overloaded`."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        """Hold these limits, by a monotonic clock in seconds."""
        self._limits = limits
        self._calls = 0
        self._by_project: dict[str, int] = {}
        rate, failed = limits.rate_of_project, limits.failed_identities
        self._rate = Rate(rate, max(rate, 1.0), clock) if rate else None
        self._failed = Rate(failed / 60, max(failed, 1.0), clock) if failed else None

    def enter(self) -> None:
        """Take a place among all calls; who has one gives it back with `leave`.

        Raises:
            Overloaded: there is none.
        """
        if self._calls >= self._limits.calls:
            raise Overloaded("More calls are in progress than the server takes on; try again later.")
        self._calls += 1

    def leave(self) -> None:
        """Give the place back."""
        self._calls -= 1

    def enter_project(self, project_id: str) -> None:
        """Take a place among the calls of a project; calls of no project have their own.

        Raises:
            Overloaded: the project makes more calls than it may.
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
        """Give the place back."""
        calls = self._by_project.pop(project_id) - 1
        if calls:
            self._by_project[project_id] = calls

    def is_suspect(self, client: str) -> bool:
        """Whether a client brought too many bad credentials; one that is not known never is."""
        return self._failed is not None and bool(client) and self._failed.is_used_up(client)

    def identity_failed(self, client: str) -> None:
        """Count a credential that is not good.

        Raises:
            Overloaded: there were too many of this client; that one more is not good is all that it is not told.
        """
        if self._failed is None or not client:
            return
        if self._failed.is_used_up(client):
            raise Overloaded("Too many credentials from this address were not good; try again later.")
        self._failed.use(client)
