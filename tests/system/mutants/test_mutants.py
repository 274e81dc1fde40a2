"""Tests of ``make mutants``: which changes it makes, and that tests run with them."""

from __future__ import annotations

import os
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.system.mutants.__main__ import EQUIVALENT, TESTS, chosen_mutants, nearest_first
from tests.system.mutants.mutations import Mutant, mutants
from tests.system.mutants.trial import ROOT, Outcome, Trial

POLICY = "backup_sharing.usecases.policy"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a == b", "a != b"),
        ("x = a < b", "a <= b"),
        ("x = a >= b", "a > b"),
        ("x = a is None", "a is not None"),
        ("x = a not in b", "a in b"),
        ("x = a and b", "a or b"),
        ("x = not a", "a"),
        ("x = a + b", "a - b"),
        ("x = a if b else c", "c if b else a"),
        ("x = True", "False"),
        ("x = 7", "8"),
        ("x = 'a'", "'XXa'"),
        ("def f(): return a", "return None"),
        ("def f(): raise a", "pass"),
        ("f(a)", "pass"),
        ("while a: break", "continue"),
    ],
)
def test_a_mutant_has_one_small_change(before: str, after: str) -> None:
    assert after.encode() in [mutant.replacement for mutant in mutants("m", before.encode())]


@pytest.mark.parametrize(
    "source",
    ['"""Text."""', "import a", "x: 'A'", "def f(a: 'A') -> 'B': ...", "@f('a')\nclass A: ...", "x = f'{a + b}'"],
)
def test_what_changes_nothing_or_has_no_place_has_no_mutant(source: str) -> None:
    assert mutants("m", source.encode()) == []


def test_a_mutant_names_its_place_and_shows_its_difference() -> None:
    source = b"class A:\n    def f(self):\n        # \xc3\xa4\n        return '\xc3\xa4', a < b\n"
    found = [mutant for mutant in mutants("m", source) if mutant.replacement == b"a <= b"]
    assert [mutant.name for mutant in found] == ["m.A.f"]
    assert found[0].difference == ["- return 'ä', a < b", "+ return 'ä', a <= b"]


def test_each_folder_of_code_has_mutants_and_tests() -> None:
    assert {mutant.module.split(".")[1] for mutant in chosen_mutants("*")} == set(TESTS)
    assert all(any((ROOT / folder).rglob("test_*.py")) for folders in TESTS.values() for folder in folders)


def test_each_equivalent_mutant_still_exists() -> None:
    lines = [line for line in EQUIVALENT.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    names = {line.partition(":")[0] for line in lines}
    found = (mutant for mutant in chosen_mutants("*") if mutant.name in names)
    there = {f"{mutant.name}: {' '.join(mutant.difference)}" for mutant in found}
    assert [line for line in lines if line not in there] == []


def test_a_pattern_selects_mutants_by_name() -> None:
    assert {mutant.module for mutant in chosen_mutants(f"{POLICY}*")} == {POLICY}


def test_tests_of_the_module_run_first() -> None:
    mutant = Mutant(POLICY, "", b"", 0, 0, b"")
    assert nearest_first(mutant, TESTS["usecases"])[0] == "tests/server/usecases/test_policy.py"


def of_policy(old: bytes, new: bytes) -> Mutant:
    source = (ROOT / "server/backup_sharing/usecases/policy.py").read_bytes()
    start = source.index(old)
    return Mutant(POLICY, "", source, start, start + len(old), new)


def started(mutant: Mutant | None, directory: Path, test: str, silence: float = 3600) -> Trial:
    """Start a trial with tests that are not in this repository."""
    (directory / "conftest.py").write_text("import hypothesis\nhypothesis.settings.register_profile('fast')\n")
    (directory / "test_one.py").write_text(test)
    return Trial(mutant, [str(directory)], directory, silence)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (f"from {POLICY} import METHODS\n\ndef test_one(): assert METHODS", Outcome.NOTICED),
        (f"from {POLICY} import ROLES\n\ndef test_one(): assert ROLES", Outcome.SURVIVED),
        ("def test_one(): pass", Outcome.NOT_IMPORTED),
    ],
)
def test_a_mutant_survives_unless_a_test_fails(tmp_path: Path, test: str, expected: Outcome) -> None:
    trial = started(of_policy(b"METHODS", b"_OTHERS"), tmp_path, test)
    wait([trial.sentinel])
    assert trial.outcome() is expected, trial.log.read_text()


def test_endless_tests_end_with_their_programs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    program = f"import time; alive = open({str(tmp_path / 'alive')!r}, 'w'); print('ready', file=alive, flush=True)"
    program += "; time.sleep(3600)"
    test = f"import subprocess, sys\n\ndef test_one(): subprocess.run([sys.executable, '-c', {program!r}])"
    trial = started(None, tmp_path, test)
    with (tmp_path / "alive").open() as alive:
        assert alive.readline() == "ready\n"
        assert trial.outcome() is None
        trial.stop()
        assert alive.read() == ""  # the program has ended


def test_a_mutant_without_a_word_from_its_tests_times_out(tmp_path: Path) -> None:
    trial = started(None, tmp_path, "import time\n\ndef test_one(): time.sleep(3600)", silence=0)
    assert trial.outcome() is Outcome.TIMED_OUT
