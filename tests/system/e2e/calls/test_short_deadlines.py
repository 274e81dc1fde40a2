"""Short deadlines, shorter than the commit margin, over REST, multiplexed and not, and with both Python clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupsharing.client import AsyncClient, Client, DeadlineExceeded
from tests.support.house import House, new_id
from tests.support.programs import Programs

pytestmark = pytest.mark.resilience

MARGIN = ("--commit-margin", "60")


@pytest.fixture(params=["sqlite", "postgres"])
def house_with_margin(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[House]:
    """Yield a house of one test whose server keeps a minute of each call, if it can."""
    postgres = request.getfixturevalue("database_url") if request.param == "postgres" else ""
    house = House(tmp_path, programs, 1, *MARGIN, postgres=postgres)
    yield house
    house.close()


async def test_a_short_deadline_is_enough_for_a_share(house_with_margin: House) -> None:
    house = house_with_margin
    giver = house.new_project()
    backup_id = house.put_backup(giver)
    shared = await house.share(giver, backup_id, new_id(), Grpc_Timeout="2S")
    assert shared.status == 200, shared
    with Client(house.grpc_address, project=giver.id, token=giver.token) as client:
        client.share(backup_id, [new_id()], timeout=2)
    async with AsyncClient(house.grpc_address, project=giver.id, token=giver.token) as client:
        await client.share(backup_id, [new_id()], timeout=2)


async def test_a_deadline_too_short_is_named(house_with_margin: House) -> None:
    house = house_with_margin
    giver = house.new_project()
    backup_id = house.put_backup(giver)
    with house.locked():
        late = await house.share(giver, backup_id, new_id(), Grpc_Timeout="400m")
        assert (late.status, late.error["reason"]) == (504, "DEADLINE_TOO_CLOSE")
        assert "are kept to report the outcome, and could not be carried out in the first" in late.error["message"]
        with (
            Client(house.grpc_address, project=giver.id, token=giver.token) as client,
            pytest.raises(DeadlineExceeded, match="are kept to report the outcome") as raised,
        ):
            client.share(backup_id, [new_id()], timeout=1)
        assert raised.value.reason == "DEADLINE_TOO_CLOSE"
    assert house.rows(backup_id) == []
