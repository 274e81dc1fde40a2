"""What the load generator is asked to do, and what it answers; both travel as one line of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OWNER = "c13f5220dc1949b0b741ea81a7cd5554"
"""The project that shares."""

LISTED = "0a5f6e9b7d2c4f1e8b3a6c9d0e7f1a2b"
"""The project that is listed and counted: it has as many sharings in every database."""

TOKEN = "bench"  # noqa: S105 - good on servers that live for one measurement
"""Of an administrator, so that one token does for every project."""

STUB_RECIPIENT = "722513ed0a324dadaabe5b2d0fe848c9"
STUB_ID = "8332443e-9866-41d8-8a58-a898cf5db030"
"""What the stub answers to every call."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement of one kind of call through one endpoint."""

    protocol: str
    """``rest`` or ``grpc``."""
    addresses: Sequence[str]
    """HOST:PORT of each server, over which the callers are spread; over REST there is one."""
    call: str
    """A name of `bench.calls`."""
    callers: int = 1
    """Calls in flight: over REST each has a connection, over gRPC all share one to each server, as in a channel."""
    seconds: float = 2.0
    """Of the measurement, behind the warm-up."""
    warmup: float = 0.2
    calls: int = 0
    """End after this many calls instead; 0: end by time."""
    rate: float = 0.0
    """Calls a second that begin whether or not others have ended; 0: each caller begins one when it has its answer."""
    close: bool = False
    """REST: a connection for each call."""
    fixed: bool = False
    """The stub answers: what it says is the same for every call."""
    keyed: bool = False
    """Shares: each has an idempotency key of its own."""
    backups: int = 100
    """How many backups of `OWNER` are shared in turn."""
    values: Sequence[str] = ()
    """What the call asks for in turn: ids of sharings, or the token of a page."""
    pids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Processes whose CPU time is wanted, with that of their children, by what they are."""
    acknowledged: str = ""
    """File to which the ids of all acknowledged sharings are added."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one job, its warm-up left out. The generator has checked every answer."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_ns: Mapping[str, int]
    """Used by the processes of each name; empty where the platform does not tell."""
    generator_busy: float
    """Share of the time that the generator's core was in use by it, 0 to 1."""
    acknowledged: int
    """Shares that were acknowledged, also during warm-up."""

    @property
    def per_second(self) -> float:
        """Calls answered a second."""
        return self.calls / self.seconds

    def cpu_us(self, name: str) -> float | None:
        """CPU time of the processes of a name for each call, in microseconds."""
        return self.cpu_ns[name] / self.calls / 1000 if name in self.cpu_ns and self.calls else None


def backup_id(index: int) -> str:
    """The id of the backup with this number, the same in every database; scattered like random ones."""
    digits = f"{(index + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def owned_backup(number: int) -> int:
    """The number of the backup that is the ``number``-th of `OWNER`: one in ten is."""
    return 10 * number + 1
