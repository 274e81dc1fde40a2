"""The load generator seen from the process that measures: jobs in, measurements out, variants in turn."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from bench.job import Job, Measured
from bench.processes import Cores, python, running
from bench.progress import tell


class LoadFailed(Exception):
    """A job could not be measured: a call failed or was answered wrongly."""


class Load:
    """A running load generator."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, job: Job) -> Measured:
        """Measure.

        Raises:
            LoadFailed: a call failed, or was not answered as it must be.
        """
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - piped
        self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the load generator ended"}')
        if "error" in answer:
            raise LoadFailed(f"{job.call} over {job.protocol}: {answer['error']}")
        return Measured(**answer)


@contextmanager
def load_generator(cores: Cores) -> Iterator[Load]:
    """Start a load generator on its core, and stop it."""
    with running(python("bench.generator"), cores.load) as process:
        yield Load(process)


@dataclass(frozen=True, slots=True)
class Rounds:
    """All measurements of one variant."""

    all: Sequence[Measured]

    def median(self, of: Callable[[Measured], float | None]) -> float | None:
        """The median of a figure; None if a round lacks it."""
        figures = [figure for measured in self.all if (figure := of(measured)) is not None]
        return statistics.median(figures) if len(figures) == len(self.all) else None

    @property
    def per_second(self) -> float:
        """The median of calls a second."""
        return statistics.median(measured.per_second for measured in self.all)

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' p50."""
        return statistics.median(measured.p50_ms for measured in self.all)

    @property
    def p99_ms(self) -> float:
        """The median of the rounds' p99."""
        return statistics.median(measured.p99_ms for measured in self.all)

    @property
    def generator_busy(self) -> float:
        """The most that the generator's core was in use."""
        return max(measured.generator_busy for measured in self.all)


def in_turn(load: Load, variants: Mapping[str, Callable[[], Job]], rounds: int) -> Mapping[str, Rounds]:
    """Measure all variants, then all again: a machine that changes its speed changes it for all."""
    found: dict[str, list[Measured]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, job in variants.items():
            measured = load.run(job())
            found[name].append(measured)
            figures = f"{measured.per_second:8.0f}/s  p50 {measured.p50_ms:7.2f}  p99 {measured.p99_ms:7.2f} ms"
            tell(f"round {number + 1}/{rounds}  {name:<40}{figures}  generator {measured.generator_busy:4.0%}")
    return {name: Rounds(measured) for name, measured in found.items()}


def ratio(of: Rounds, to: Rounds, figure: Callable[[Measured], float] = lambda m: m.per_second) -> float:
    """The median of the ratios of each round."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(of.all, to.all, strict=True))
