"""The units of docs/systemd: their sandbox, and our programs in it and in stricter ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.ports import free_address
from tests.support.programs import AT_ONCE, ROOT, Program, Programs
from tests.support.rest import Rest
from tests.support.system import DOCUMENTED_GIVER, Project, write_tokens

UNITS = sorted((ROOT / "docs" / "systemd").glob("*.service"))

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
needs_seccomp = pytest.mark.skipif(bool(sandbox.why_not()), reason=sandbox.why_not())


def lines(unit: Path) -> list[str]:
    return unit.read_text(encoding="utf-8").splitlines()


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_calls_the_sandbox_of_a_unit_ok(unit: Path) -> None:
    asked = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(unit)]
    found = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert " OK " in found.stdout.splitlines()[-1]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_refuses_what_the_sandbox_of_the_tests_refuses(unit: Path) -> None:
    refused = ["SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources"]
    assert [line for line in lines(unit) if line.startswith("SystemCallFilter")] == refused
    assert {"SystemCallErrorNumber=EPERM", "MemoryDenyWriteExecute=yes"} <= set(lines(unit))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_sets_the_policy_that_its_program_may_not_set(unit: Path) -> None:
    assert "CPUSchedulingPolicy=batch" in lines(unit)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_leaves_what_metrics_of_the_process_read(unit: Path) -> None:
    """They need /proc/stat for the time of the start, and all are missing without it."""
    assert not any(line.startswith("ProcSubset=") for line in lines(unit))


async def served(programs: Programs, folder: Path, *restrictions: str) -> list[Program]:
    """Start a restricted server and gateway; make a call; return both."""
    write_tokens(folder, [Project(DOCUMENTED_GIVER)])
    listen, rest = free_address(), Rest(free_address())
    database = ("--database", str(folder / "sharings.db"), "--tokens", str(folder / "tokens.json"))
    server = ("backup_sharing", "--grpc-listen", listen, *database)
    gateway = ("backup_sharing.gateway_program", "--listen", rest.address, "--upstream", listen)
    started = [programs.start("tests.support.sandbox", *restrictions, *one, *AT_ONCE) for one in (server, gateway)]
    for program in started:
        program.wait_for('"event":"serving"')
    started[1].wait_for('"state":"serving"')  # of the server, which it may have looked at too early
    project = Project(DOCUMENTED_GIVER)
    answer = await rest.call("GET", f"{project.path}/count", token=project.token)
    assert (answer.status, answer.json) == (200, {"count": 0})
    return started


REFUSALS = "sched_setscheduler,sched_getscheduler,sched_setaffinity,prlimit64,memfd_create,io_uring_setup,madvise"


@needs_seccomp
@pytest.mark.outside
@pytest.mark.parametrize("number", ["EPERM", "ENOSYS"])
async def test_without_optimisations_the_programs_serve(programs: Programs, tmp_path: Path, number: str) -> None:
    for program in await served(programs, tmp_path, "--deny", REFUSALS, "--errno", number):
        assert program.printed.count('"what":"SCHED_BATCH"') == 1
        assert "Traceback" not in program.printed


@needs_systemd
@needs_seccomp
@pytest.mark.outside
async def test_the_programs_serve_in_the_sandbox_of_their_units(programs: Programs, tmp_path: Path) -> None:
    for program in await served(programs, tmp_path, "--service", "--no-new-code"):
        assert "Traceback" not in program.printed
