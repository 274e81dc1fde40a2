"""Make random small changes to the code, one at a time, and report changes that no test noticed: ``make mutants``.

Runs for MUTANTS_MINUTES (20). MUTANTS_SEED determines the mutants; the default is the date, so that each night tries
others. MUTANTS_ONLY selects mutants by pattern, such as ``backup_sharing.usecases.sharing.*``. mutmut creates the
mutants in ``mutants/`` and runs the tests that cover each of them; its configuration is in pyproject.toml. mutmut keeps
the results until the code changes.
"""

from __future__ import annotations

import datetime
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[3]
MADE = ROOT / "mutants"
_SOURCE = ROOT / "src"
_LOG = ROOT / "build" / "mutmut.log"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")

_FIRST = "backup_sharing.usecases.policy.*"
"""Few mutants with fast tests: this first run makes mutmut create all mutants and record the coverage of tests."""
_AT_ONCE = 60
"""Mutants per run of mutmut, which tries those with fast tests first."""
_OUTCOMES = {0: "survived", 5: "not reached", 33: "not reached", 36: "timed out", 24: "timed out", -24: "timed out"}
"""Outcome by exit code; every other exit code means that the tests noticed the mutant."""
_UNNOTICED = (0, 5, 33)


def main() -> int:
    """Try mutants until the time is over; return the exit code, 1 if the tests fail without a mutant."""
    until = time.monotonic() + 60 * float(os.environ.get("MUTANTS_MINUTES", "20"))
    seed = os.environ.get("MUTANTS_SEED") or datetime.datetime.now(datetime.UTC).date().isoformat()
    only = os.environ.get("MUTANTS_ONLY", "*")
    _say(f"MUTANTS_SEED={seed}")
    with _source_as_mutmut_expects_it():
        return _try(until, seed, only)


@contextmanager
def _source_as_mutmut_expects_it() -> Iterator[None]:
    """Link ``src`` to the folder of the server's package while mutmut runs: it finds packages only there."""
    _SOURCE.unlink(missing_ok=True)
    _SOURCE.symlink_to("server")
    try:
        yield
    finally:
        _SOURCE.unlink()


def _try(until: float, seed: str, only: str) -> int:
    _mutmut(["run", "--max-children", "1", _FIRST], until)
    if not any(code is not None for code in _outcomes().values()):
        _say(f"no mutant was tried; check that the tests pass in time without a mutant: {_LOG}")
        return 1
    names = [name for name in _outcomes() if fnmatch.fnmatch(name, only)]
    Random(seed).shuffle(names)  # noqa: S311 - chooses tests
    tried: list[str] = []
    while names and time.monotonic() < until:
        some, names = names[:_AT_ONCE], names[_AT_ONCE:]
        _mutmut(["run", "--max-children", "1", *some], until)
        tried += some
    _report(tried)
    return 0


def _mutmut(arguments: Sequence[str], until: float) -> None:
    """Run mutmut, at most until this monotonic time."""
    command = (str(Path(sys.executable).with_name("mutmut")), *arguments)
    _LOG.parent.mkdir(exist_ok=True)
    with _LOG.open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 1))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the process group of mutmut and its tests
                process.wait()


def _outcomes() -> dict[str, int | None]:
    """Return the tests' exit code by mutant; None for untried mutants."""
    found: dict[str, int | None] = {}
    for file in sorted(MADE.rglob("*.meta")):
        found |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def _report(tried: Sequence[str]) -> None:
    """Print the number of mutants by outcome, and the mutants that no test noticed."""
    outcomes = _outcomes()
    done = [name for name in tried if outcomes.get(name) is not None]
    kinds = Counter(_OUTCOMES.get(outcomes[name] or 0, "noticed") for name in done)
    counted = ", ".join(f"{kind} {times}" for kind, times in kinds.items())
    _say(f"{len(done)} of {len(outcomes)} mutants: {counted}")
    known = [line for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    equivalent = 0
    for name in sorted(name for name in done if outcomes[name] in _UNNOTICED):
        difference = _difference(name)
        if any(line in known for line in (_place(name, changed) for changed in difference)):
            equivalent += 1
        else:
            _say("\n  ".join((f"\n{name}", *difference)))
    _say(f"\n{equivalent} surviving mutants are equivalent to the code: {EQUIVALENT.relative_to(ROOT)}")


def _difference(name: str) -> Sequence[str]:
    shown = subprocess.run(
        (str(Path(sys.executable).with_name("mutmut")), "show", name),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    changed = (line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---"))
    return [f"{line[0]} {line[1:].strip()}" for line in changed]


def _place(name: str, changed: str) -> str:
    """Return the function and the changed line in the format of `EQUIVALENT`."""
    return f"{name.rpartition('__mutmut_')[0]}: {changed.removeprefix('+ ')}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that started processes are stopped
    sys.exit(main())
