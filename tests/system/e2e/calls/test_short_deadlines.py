"""Short deadlines, shorter than the commit margin, over REST, multiplexed and not, and with both Python clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupsharing.client import AsyncClient, Client, DeadlineExceeded
from tests.support.programs import Programs
from tests.support.system import System, new_id

pytestmark = pytest.mark.resilience

MARGIN = ("--commit-margin", "60")


@pytest.fixture(params=["sqlite", "postgres"])
def system_with_margin(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[System]:
    """Yield a system of one test whose server keeps a minute of each call, if it can."""
    postgres = request.getfixturevalue("database_url") if request.param == "postgres" else ""
    system = System(tmp_path, programs, 1, *MARGIN, postgres=postgres)
    yield system
    system.close()


async def test_a_short_deadline_is_enough_for_a_share(system_with_margin: System) -> None:
    system = system_with_margin
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    shared = await system.share(giver, backup_id, new_id(), Grpc_Timeout="20S")
    assert shared.status == 200, shared
    with Client(system.grpc_address, project=giver.id, token=giver.token) as client:
        client.share(backup_id, [new_id()], timeout=20)
    async with AsyncClient(system.grpc_address, project=giver.id, token=giver.token) as client:
        await client.share(backup_id, [new_id()], timeout=20)


async def test_a_deadline_too_short_is_named(system_with_margin: System) -> None:
    system = system_with_margin
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    with system.locked():
        late = await system.share(giver, backup_id, new_id(), Grpc_Timeout="4S")
        assert (late.status, late.error["reason"]) == (504, "DEADLINE_TOO_CLOSE")
        assert "are kept to report the outcome, and could not be carried out in the first" in late.error["message"]
        with (
            Client(system.grpc_address, project=giver.id, token=giver.token) as client,
            pytest.raises(DeadlineExceeded, match="are kept to report the outcome") as raised,
        ):
            client.share(backup_id, [new_id()], timeout=4)
        assert raised.value.reason == "DEADLINE_TOO_CLOSE"
    assert system.rows(backup_id) == []
