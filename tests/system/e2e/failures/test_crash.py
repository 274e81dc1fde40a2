"""Stored data after a kill of the server."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from tests.support.house import House, Project
from tests.support.programs import PATIENCE
from tests.support.rest import assert_failure, assert_success
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

SHARES, RECIPIENTS = 1000, 3
ACKNOWLEDGED_BEFORE_THE_END = 200


async def until_back(house: House, project: Project) -> None:
    """Wait until the gateway, which is never restarted, reaches the server again."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await house.list(project, "limit=1")).status == 503:
            assert "Retry-After" in answer.headers
            await asyncio.sleep(0.05)


async def test_a_server_killed_among_a_thousand_shares_loses_none(
    own_house: House,
) -> None:
    giver = own_house.new_project()
    backups = [own_house.put_backup(giver) for _ in range(20)]
    acknowledged: list[str] = []

    async def share(number: int) -> Answer:
        recipients = [f"{number}-{index}" for index in range(RECIPIENTS)]
        answer = await own_house.share(giver, backups[number % len(backups)], *recipients)
        if answer.status == 200:
            acknowledged.extend(item["id"] for item in answer.json["shared"])
            if len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_END * RECIPIENTS and own_house.server.is_running:
                own_house.server.signal(signal.SIGKILL)
        return answer

    answers = await asyncio.gather(*(share(number) for number in range(SHARES)))
    assert await asyncio.to_thread(own_house.server.wait) == -signal.SIGKILL
    for answer in answers:
        if answer.status != 200:
            assert_failure(answer, 503, "VolumeBackup.0900")
    assert Counter(answer.status for answer in answers)[503] > 0
    await asyncio.to_thread(own_house.start_server)
    await until_back(own_house, giver)

    stored = [row for backup_id in backups for row in own_house.rows(backup_id)]
    assert set(acknowledged) <= {row[0] for row in stored}
    by_request = Counter(recipient.partition("-")[0] for _, recipient, _ in stored)
    assert set(by_request.values()) == {RECIPIENTS}
    assert await own_house.count(giver) == len(stored)
    assert sum((own_house.events(backup_id) for backup_id in backups), Counter())["shared"] == len(stored)


async def test_the_gateway_finds_a_restarted_server_by_itself(own_house: House) -> None:
    giver = own_house.new_project()
    backup_id = own_house.put_backup(giver)
    first = assert_success(await own_house.share(giver, backup_id, "one", Idempotency_Key="k"))
    own_house.server.signal(signal.SIGKILL)
    await asyncio.to_thread(own_house.server.wait)
    for method, path in (("GET", f"{giver.path}/count"), ("DELETE", f"{giver.path}/{first['shared'][0]['id']}")):
        answer = await own_house.rest.call(method, path, token=giver.token)
        assert_failure(answer, 503, "VolumeBackup.0900")
        assert int(answer.headers["Retry-After"]) >= 1
    await asyncio.to_thread(own_house.start_server)
    await until_back(own_house, giver)
    assert assert_success(await own_house.share(giver, backup_id, "one", Idempotency_Key="k")) == first
    assert own_house.gateway.is_running
