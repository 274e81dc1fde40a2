"""A disk that fails at any system call of the SQLite store: the callers' outcomes match what a new process finds."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.store import faulty_process
from tests.store.faulty_disk import ALWAYS, Fault, FaultyDisk, How, Kind, build

pytestmark = pytest.mark.resilience

WRITES: Final = (
    Fault(Kind.WRITE),
    Fault(Kind.WRITE, fail=ALWAYS),
    Fault(Kind.WRITE, how=How.DONE_AND_REFUSED),
    Fault(Kind.WRITE, how=How.HALF_THEN_REFUSED),
    Fault(Kind.WRITE, errno.EDQUOT, fail=ALWAYS),
    Fault(Kind.WRITE, errno.ENOSPC, fail=ALWAYS),
    Fault(Kind.WRITE, errno.ENOSPC, How.HALF_THEN_REFUSED, fail=ALWAYS),
)
SYNCS: Final = (
    Fault(Kind.SYNC),
    Fault(Kind.SYNC, errno.ENOSPC, fail=ALWAYS),
    Fault(Kind.SYNC, how=How.DONE_AND_REFUSED),
)
KILLS: Final = (
    Fault(Kind.WRITE | Kind.SYNC | Kind.TRUNCATE, how=How.KILLED),
    Fault(Kind.WRITE | Kind.SYNC | Kind.TRUNCATE, how=How.DONE_AND_KILLED),
)
READS: Final = (Fault(Kind.READ), Fault(Kind.READ, fail=ALWAYS), Fault(Kind.READ, how=How.HALF_THEN_REFUSED))
TRUNCATES: Final = (Fault(Kind.TRUNCATE), Fault(Kind.TRUNCATE, fail=ALWAYS))
OF_THE_INDEX: Final = (Fault(Kind.WRITE, errno.ENOSPC, fail=ALWAYS, name="sharings.db-shm"),)
READ_AT_START: Final = Fault(Kind.READ, fail=ALWAYS, name="sharings.db$")
"""SQLite reports an unreadable file as damaged, so the start is refused."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)

FAULTS: Final = {
    "commit": (WRITES[0], WRITES[2], WRITES[5], WRITES[6], *SYNCS, *KILLS),
    "commits": (WRITES[1], WRITES[2], WRITES[3], WRITES[4], WRITES[6]),
    "first_commit": (WRITES[0], WRITES[2], WRITES[5], *SYNCS, *TRUNCATES),
    "large_commit": (WRITES[2], WRITES[5], SYNCS[0]),
    "long_log": OF_THE_INDEX,
    "checkpoint": (WRITES[0], WRITES[5], *SYNCS, KILLS[0], READS[1], *TRUNCATES),
    "close": (WRITES[0], WRITES[5], *SYNCS, KILLS[0], READS[1], *TRUNCATES),
    "read": READS,
    "start": (WRITES[1], *SYNCS, KILLS[1], READ_AT_START, *TRUNCATES),
}
COMMITS: Final = ("commit", "commits", "first_commit", "large_commit")


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a scene, and the rows that a new process found afterwards."""

    scene: str
    fault: Fault
    skip: int
    failed: int
    """Number of failed system calls."""
    outcomes: dict[str, str]
    """Outcome of each call, by the number of the call."""
    said: list[str]
    """Other lines that the process recorded."""
    stored: Counter[str]
    """Number of stored sharings, by the number of the call."""
    whole: bool
    """Whether the events match the sharings, and SQLite's integrity check passes."""


def play(scene: str, folder: Path) -> list[Case]:
    disk = FaultyDisk(folder / "commands")
    faults = FAULTS[scene]
    arguments = (str(disk.path), str(folder), scene, *(fault.written() for fault in faults))
    done = subprocess.run(
        [sys.executable, faulty_process.__file__, *arguments],
        env={**os.environ, **disk.environment(build(folder)), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [_case(scene, faults, line) for line in done.stdout.splitlines()]


def _case(scene: str, faults: tuple[Fault, ...], line: str) -> Case:
    values = json.loads(line)
    outcomes = dict(line.split() for line in values["outcomes"] if line[0].isdigit())
    said = [line for line in values["outcomes"] if not line[0].isdigit()]
    stored = Counter(each.partition("-")[0] for each in values["sharings"])
    return Case(
        scene, faults[values["fault"]], values["skip"], values["failed"], outcomes, said, stored, values["whole"]
    )


@pytest.fixture(scope="module", params=FAULTS)
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return play(request.param, tmp_path_factory.mktemp("faults"))


def test_what_callers_are_told_is_what_is_stored(cases: list[Case]) -> None:
    for case in cases:
        assert case.whole, case
        assert case.fault == READ_AT_START or not [said for said in case.said if said.startswith("defect")], case
        for number in ("1", "2", "3", "9"):
            recipients = 12 if case.scene in ("large_commit", "long_log") and number in "23" else 2
            possible = {"STORED": {recipients}, "OUTCOME_UNKNOWN": {0, recipients}, None: {0, recipients}}
            assert case.stored[number] in possible.get(case.outcomes.get(number), {0}), (number, case)


def test_each_scene_meets_each_fault_and_goes_through_without(cases: list[Case]) -> None:
    faults = FAULTS[cases[0].scene]
    assert {case.fault for case in cases if case.failed} == set(faults)
    through = [case for case in cases if not case.failed]
    assert [case.fault for case in through] == list(faults)
    assert all(set(case.outcomes.values()) == {"STORED"} for case in through)


def test_a_sync_that_failed_ends_the_store(cases: list[Case]) -> None:
    for case in cases:
        if case.failed and case.fault.kinds == Kind.SYNC and case.scene != "start":
            assert "failed" in case.said, case
            assert case.outcomes.get("9") != "STORED", case
            if case.scene in COMMITS:
                assert (case.outcomes["2"], case.outcomes["3"]) == ("OUTCOME_UNKNOWN",) * 2, case


def test_a_full_disk_is_not_stored_and_ends_nothing(cases: list[Case]) -> None:
    for case in cases:
        if case.failed and case.fault.kinds == Kind.WRITE and case.fault.error in FULL and case.scene in COMMITS:
            assert not {"failed", "count UNAVAILABLE"} & set(case.said), case
            assert (case.outcomes["2"], case.outcomes["3"]) == ("UNAVAILABLE",) * 2, case
            assert case.outcomes.get("9", "STORED") == "STORED", case


def test_a_whole_commit_reported_as_failed_is_not_known(cases: list[Case]) -> None:
    if cases[0].scene in COMMITS:
        done = [case for case in cases if case.failed and case.fault == WRITES[2]]
        assert done[-1].outcomes["2"] == "OUTCOME_UNKNOWN"
        assert all(case.outcomes["2"] in ("UNAVAILABLE", "STORED") for case in done[:-1])
    if cases[0].scene == "long_log":
        assert {case.outcomes["2"] for case in cases if case.failed} == {"OUTCOME_UNKNOWN"}


def test_a_read_that_fails_ends_nothing(cases: list[Case]) -> None:
    for case in cases:
        if case.fault.kinds == Kind.READ and case.scene not in ("close", "start"):
            assert "failed" not in case.said, case
            assert case.outcomes["9"] == "STORED", case


def test_a_start_gets_ready_with_an_empty_log_or_waits(cases: list[Case]) -> None:
    for case in cases:
        if case.scene == "start" and case.fault.kinds in (Kind.WRITE, Kind.SYNC, Kind.TRUNCATE):
            assert case.said in (["ready", "log 0"], ["not ready UNAVAILABLE", "log 0"]), case
            assert case.outcomes["9"] == "STORED", case
