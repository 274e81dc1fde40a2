"""Stored data after a kill of the server."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from tests.support.programs import PATIENCE
from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

SHARES, RECIPIENTS = 1000, 3
ACKNOWLEDGED_BEFORE_THE_END = 200


async def until_back(system: System, project: Project) -> None:
    """Wait until the gateway, which is never restarted, reaches the server again."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await system.list(project, "limit=1")).status == 503:
            assert "Retry-After" in answer.headers
            await asyncio.sleep(0.05)


async def test_a_server_killed_among_a_thousand_shares_loses_none(
    own_system: System,
) -> None:
    giver = own_system.new_project()
    backups = [own_system.put_backup(giver) for _ in range(20)]
    acknowledged: list[str] = []

    async def share(number: int) -> Answer:
        recipients = [f"{number}-{index}" for index in range(RECIPIENTS)]
        answer = await own_system.share(giver, backups[number % len(backups)], *recipients)
        if answer.status == 200:
            acknowledged.extend(item["id"] for item in answer.json["shared"])
            if len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_END * RECIPIENTS and own_system.server.is_running:
                own_system.server.signal(signal.SIGKILL)
        return answer

    answers = await asyncio.gather(*(share(number) for number in range(SHARES)))
    assert await asyncio.to_thread(own_system.server.wait) == -signal.SIGKILL
    for answer in answers:
        if answer.status != 200:
            assert_failure(answer, 503, "VolumeBackup.0900")
    assert Counter(answer.status for answer in answers)[503] > 0
    await asyncio.to_thread(own_system.start_server)
    await until_back(own_system, giver)

    stored = [row for backup_id in backups for row in own_system.rows(backup_id)]
    assert set(acknowledged) <= {row[0] for row in stored}
    by_request = Counter(recipient.partition("-")[0] for _, recipient, _ in stored)
    assert set(by_request.values()) == {RECIPIENTS}
    assert await own_system.count(giver) == len(stored)
    assert sum((own_system.events(backup_id) for backup_id in backups), Counter())["shared"] == len(stored)


async def test_the_gateway_finds_a_restarted_server_by_itself(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    first = assert_success(await own_system.share(giver, backup_id, "one", Idempotency_Key="k"))
    own_system.server.signal(signal.SIGKILL)
    await asyncio.to_thread(own_system.server.wait)
    for method, path in (("GET", f"{giver.path}/count"), ("DELETE", f"{giver.path}/{first['shared'][0]['id']}")):
        answer = await own_system.rest.call(method, path, token=giver.token)
        assert_failure(answer, 503, "VolumeBackup.0900")
        assert int(answer.headers["Retry-After"]) >= 1
    await asyncio.to_thread(own_system.start_server)
    await until_back(own_system, giver)
    assert assert_success(await own_system.share(giver, backup_id, "one", Idempotency_Key="k")) == first
    assert own_system.gateway.is_running
