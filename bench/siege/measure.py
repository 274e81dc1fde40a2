"""One attack: the others alone, the same under attack, and what both programs needed meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.processes import ROOT, Cores, python, running
from bench.siege.cast import SECRET
from bench.siege.catalogue import ATTACKS, Attack
from bench.siege.filling import fill
from bench.siege.others import Job, Noticed
from bench.siege.pair import Pair, pair


@dataclass(frozen=True, slots=True)
class Size:
    """How long and how large attacks are."""

    warm: float = 1.0
    """Seconds of the others that do not count."""
    alone: float = 5.0
    """Seconds of the others alone."""
    attack: float = 10.0
    """Seconds under attack."""
    rate: float = 50.0
    """Calls of the others, a second."""
    scale: float = 1.0
    """Of bytes and numbers."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one attack on one engine."""

    attack: str
    engine: str
    alone_ms: float
    """The others' p99."""
    under_ms: float
    calls: int
    """Of the others, under attack."""
    failed: Mapping[str, int]
    """How many of those failed, by why."""
    unhealthy: int
    """Looks at the server's health, one a second, that did not find it serving."""
    over_start_mb: Mapping[str, float]
    """Peak memory of ``server`` and ``gateway``, over that before the attack."""
    sent: int
    """Bytes of the attacker."""
    logged: float
    """Bytes of log beyond those for the others' calls."""
    tally: Mapping[str, int] = field(default_factory=dict)
    """How the attacker's calls or connections ended."""
    secret_logged: bool = False
    """Whether a token was found in a log."""

    @property
    def ratio(self) -> float:
        """The others' p99 under attack to alone."""
        return self.under_ms / self.alone_ms

    @property
    def log_ratio(self) -> float:
        """Bytes of log for each attacking byte."""
        return self.logged / self.sent if self.sent else 0.0


class Observers:
    """The process of the others, kept from one attack to the next."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def notice(self, job: Job) -> Noticed:
        """Call as the job says, and answer what was noticed."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - piped
        self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the others ended")
        return Noticed(**json.loads(line))


@contextmanager
def observers(cores: Cores) -> Iterator[Observers]:
    """Start the process of the others, and stop it."""
    with running(python("bench.siege.others"), cores.load) as process:
        yield Observers(process)


def measure(name: str, size: Size, cores: Cores, others: Observers, database: str = "", root: Path = ROOT) -> Figures:
    """Make one attack on a pair of its own."""
    with pair(ATTACKS[name].place, cores, database, root) as attacked:
        fill(attacked.target, ATTACKS[name].place)
        return measure_on(attacked, name, size, cores, others, "PostgreSQL" if database else "SQLite")


def measure_on(attacked: Pair, name: str, size: Size, cores: Cores, others: Observers, engine: str) -> Figures:
    """Make one attack on a pair that is there."""
    attack = ATTACKS[name]
    others.notice(_job(attacked, attack, size.warm, size.rate))
    written = attacked.log_bytes()
    alone = others.notice(_job(attacked, attack, size.alone, size.rate))
    per_call = (attacked.log_bytes() - written) / (size.alone * size.rate)
    attacked.forget_peaks()
    start = {program: attacked.rss_mb(program) for program in attacked.pids}
    written, known = attacked.log_bytes(), attacked.logged(SECRET)
    with running(_attacker(attacked, name, size), cores.load) as process:
        assert process.stdout is not None  # noqa: S101 - piped
        process.stdout.readline()
        under = others.notice(_job(attacked, attack, size.attack, size.rate))
        answer = process.stdout.readline()
    report = json.loads(answer or '{"sent": 0, "tally": {"the attacker failed": 1}}')
    calls = round(size.attack * size.rate)
    return Figures(
        name,
        engine,
        alone.p99,
        under.p99,
        calls,
        dict(under.failed),
        under.unhealthy,
        {program: attacked.peak_mb(program) - start[program] for program in attacked.pids},
        report["sent"],
        max(attacked.log_bytes() - written - per_call * calls, 0.0),
        report["tally"],
        attacked.logged(SECRET) > known,
    )


def _job(attacked: Pair, attack: Attack, seconds: float, rate: float) -> Job:
    target = attacked.target
    return Job(target.grpc, target.rest, seconds, rate, attack.fresh, attack.place.keystone)


def _attacker(attacked: Pair, name: str, size: Size) -> tuple[str, ...]:
    where = ("--grpc", attacked.target.grpc, "--rest", attacked.target.rest)
    much = ("--seconds", str(size.attack + 1), "--scale", str(size.scale))
    return (*python("bench.siege.attacker", name), *where, *much)
