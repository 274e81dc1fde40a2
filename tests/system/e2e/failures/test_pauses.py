"""Programs suspended beyond the deadlines of their calls, and the responses afterwards."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.programs import Program, Programs
from tests.support.system import System
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

CALLS = 60
TIMEOUT = "400m"
PAUSE = 0.8
"""Seconds of suspension, longer than the deadline of every call."""


async def pause(program: Program) -> None:
    """Suspend a program until all deadlines have passed."""
    program.signal(signal.SIGSTOP)
    await asyncio.sleep(PAUSE)
    program.signal(signal.SIGCONT)


@pytest.mark.parametrize("paused", ["server", "gateway"])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_after_a_pause_every_answer_is_true(
    programs: Programs, tmp_path: Path, request: pytest.FixtureRequest, engine: str, paused: str
) -> None:
    postgres = request.getfixturevalue("database_url") if engine == "postgres" else ""
    system = System(tmp_path, programs, 1, postgres=postgres)
    giver = system.new_project()
    backups = [system.put_backup(giver) for _ in range(6)]
    answered = asyncio.Event()

    async def share(number: int) -> Answer:
        answer = await system.share(giver, backups[number % len(backups)], f"to-{number}", Grpc_Timeout=TIMEOUT)
        answered.set()
        return answer

    for first in range(0, 3 * CALLS, CALLS):
        answered.clear()
        sharing = [asyncio.create_task(share(number)) for number in range(first, first + CALLS)]
        await answered.wait()
        await pause(getattr(system, paused))
        answers = dict(enumerate(await asyncio.gather(*sharing), first))
        stored = {to for backup_id in backups for _, to, _ in system.rows(backup_id)}
        for number, answer in answers.items():
            is_stored = f"to-{number}" in stored
            match answer.status:
                case 200:
                    assert is_stored
                case 504:
                    assert answer.error["reason"] == "DEADLINE_TOO_CLOSE"
                    assert not is_stored
                case 503:
                    assert "may be stored" in answer.error["message"]
                case other:
                    pytest.fail(f"{other} after a pause: {answer}")
    system.close()
