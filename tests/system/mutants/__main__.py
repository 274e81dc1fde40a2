"""Make random small changes to the code, one at a time, and print the changes that no test notices: ``make mutants``.

Runs for MUTANTS_MINUTES (20); SIGINT and SIGTERM end the run as if the time were over. MUTANTS_SEED determines the
order of the mutants; the default is the date, so that each night tries others. MUTANTS_ONLY selects mutants by a
pattern of names, such as ``backup_sharing.usecases.sharing.*``. The tests of a mutant are those of its folder
(`TESTS`), and must pass without a mutant first. Surviving mutants do not change the exit status: 0, or 1 if the tests
fail without a mutant, or if no mutant was tried.
"""

from __future__ import annotations

import datetime
import fnmatch
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from random import Random

from tests.system.mutants.mutations import Mutant, mutants
from tests.system.mutants.trial import ROOT, Outcome, Trial

TESTS = {
    "rules": ("tests/store/contract", "tests/server/usecases"),
    "usecases": ("tests/server/usecases", "tests/server/watching"),
    "identity": ("tests/identity",),
    "rpc": ("tests/server/rpc", "tests/server/watching"),
    "store": ("tests/store",),
}
"""Folders of tests by folder of ``server/backup_sharing``. Without ``store/postgres``: its tests take minutes."""
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
_SAME = "equivalent"
"""Outcome of a mutant that survived and is in `EQUIVALENT`."""
_SILENCE = 30.0
"""Seconds after which a test with a mutant counts as endless; without a mutant, a test takes less than a second."""


def main() -> int:
    """Try mutants until the time is over; return the exit status."""
    start = time.monotonic()
    until = start + 60 * float(os.environ.get("MUTANTS_MINUTES", "20"))
    seed = os.environ.get("MUTANTS_SEED") or datetime.datetime.now(datetime.UTC).date().isoformat()
    _say(f"MUTANTS_SEED={seed}")
    chosen = chosen_mutants(os.environ.get("MUTANTS_ONLY", "*"))
    Random(seed).shuffle(chosen)  # noqa: S311 - chooses tests
    with _temporary_directory() as directory, Trials(directory, until) as trials:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: trials.end())
        if not trials.pass_without_a_mutant({tests for mutant in chosen for tests in _tests(mutant)}):
            return 1
        counts = _counted(trials.run(chosen))
    counted = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (*(one.value for one in Outcome), _SAME))
    _say(f"\n{counts.total()} of {len(chosen)} mutants tried in {time.monotonic() - start:.0f} s: {counted}")
    return 0 if counts else 1


def chosen_mutants(pattern: str) -> list[Mutant]:
    """Return the mutants of all folders in `TESTS` with a name that matches the pattern."""
    server = ROOT / "server"
    files = [file for folder in TESTS for file in sorted((server / "backup_sharing" / folder).rglob("*.py"))]
    files = [file for file in files if "postgres" not in file.parts and file.name != "__init__.py"]
    names = {file: file.relative_to(server).with_suffix("").as_posix().replace("/", ".") for file in files}
    found = (mutant for file, name in names.items() for mutant in mutants(name, file.read_bytes()))
    return [mutant for mutant in found if fnmatch.fnmatchcase(mutant.name, pattern)]


def _tests(mutant: Mutant) -> Sequence[str]:
    return TESTS[mutant.module.split(".")[1]]


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    """Create a directory in memory if there is one: tests with SQLite on a disk take four times as long."""
    memory = Path("/dev/shm")  # noqa: S108 - the directory in it is made safely
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


class Trials:
    """Runs one trial per core until the time is over; leaving the context stops the running ones."""

    def __init__(self, directory: Path, until: float) -> None:
        self._directory = directory
        self._until = until
        self._free = [directory / str(number) for number in range(os.cpu_count() or 1)]
        self._places: dict[Trial, Path] = {}

    def __enter__(self) -> Trials:
        """Return these trials."""
        return self

    def end(self) -> None:
        """Behave from now on as if the time were over."""
        self._until = 0

    def __exit__(self, *_: object) -> None:
        """Stop all running trials."""
        for trial in self._places:
            trial.stop()

    def pass_without_a_mutant(self, folders: set[str]) -> bool:
        """Return whether the tests of these folders pass without a mutant; print failures."""
        pending, folder_of, passed = sorted(folders), dict[Trial, str](), set[str]()
        while (pending or self._places) and time.monotonic() < self._until:
            while pending and self._free:
                folder = pending.pop()
                folder_of[self._start(None, [folder], float("inf"))] = folder
            for trial, outcome in self._ended():
                if outcome is not Outcome.SURVIVED:
                    _say(f"tests fail without a mutant: {folder_of[trial]}\n{trial.log.read_text(errors='replace')}")
                    return False
                passed.add(folder_of[trial])
        if passed != folders:
            _say("the time is over before the tests without a mutant have ended; raise MUTANTS_MINUTES")
        return passed == folders

    def run(self, chosen: Sequence[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
        """Yield mutants with their outcome, in the order of their ends."""
        pending = list(reversed(chosen))
        while (pending or self._places) and time.monotonic() < self._until:
            while pending and self._free:
                mutant = pending.pop()
                self._start(mutant, nearest_first(mutant, _tests(mutant)), _SILENCE)
            for trial, outcome in self._ended():
                assert trial.mutant is not None
                yield trial.mutant, outcome

    def _start(self, mutant: Mutant | None, tests: Sequence[str], silence: float) -> Trial:
        place = self._free.pop()
        place.mkdir(exist_ok=True)
        trial = Trial(mutant, tests, place, silence)
        self._places[trial] = place
        return trial

    def _ended(self) -> Iterator[tuple[Trial, Outcome]]:
        """Wait up to a second for the end of a trial; yield the ended ones."""
        wait([trial.sentinel for trial in self._places], timeout=1)
        for trial in list(self._places):
            outcome = trial.outcome()
            if outcome is not None:
                self._free.append(self._places.pop(trial))
                yield trial, outcome


def nearest_first(mutant: Mutant, folders: Sequence[str]) -> list[str]:
    """Return these folders after the file of tests with the module's name, if there is one: it fails soonest."""
    name = f"test_{mutant.module.rpartition('.')[2]}.py"
    near = [str(file.relative_to(ROOT)) for folder in folders for file in (ROOT / folder).rglob(name)]
    return [*near, *folders]


def _counted(ended: Iterable[tuple[Mutant, Outcome]]) -> Counter[str]:
    """Return the number of mutants by outcome; print those that no test noticed, except equivalent ones."""
    equivalent = EQUIVALENT.read_text(encoding="utf-8").splitlines()
    counts: Counter[str] = Counter()
    for mutant, outcome in ended:
        if outcome in (Outcome.NOTICED, Outcome.TIMED_OUT):
            counts[outcome.value] += 1
        elif f"{mutant.name}: {' '.join(mutant.difference)}" in equivalent:
            counts[_SAME] += 1
        else:
            counts[outcome.value] += 1
            _say("\n  ".join((f"\n{mutant.name}: {outcome.value}", *mutant.difference)))
    return counts


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
