"""Servers behind one PgBouncer in transaction mode: calls over REST, and what the operator reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_address
from tests.support.postgres.pgbouncer import PgBouncer
from tests.support.programs import Programs
from tests.support.rest import Rest
from tests.support.system import System

pytestmark = pytest.mark.outside

CALLS = 60


@pytest.fixture
def pooler(database_url: str) -> Iterator[PgBouncer]:
    with PgBouncer(database_url, pool_size=2) as pooler:
        yield pooler


async def test_two_servers_share_and_list_through_one_pooler(
    programs: Programs, tmp_path: Path, pooler: PgBouncer
) -> None:
    system = System(tmp_path, programs, 1, postgres=pooler.url)
    giver, other = system.new_project(), Rest(free_address())
    second = free_address()
    system.start_another(second)
    programs.gateway(other.address, second)
    backup_id = system.put_backup(giver)

    async def share(number: int) -> int:
        body = {"shared": {"to_project_ids": [f"to-{number}"], "backup_id": backup_id}}
        rest = other if number % 2 else system.rest
        shared = await rest.call("POST", giver.path, token=giver.token, body=body)
        listed = await rest.call("GET", f"{giver.path}/detail?limit=5", token=giver.token)
        return shared.status * 1000 + listed.status

    assert Counter(await asyncio.gather(*map(share, range(CALLS)))) == {200_200: CALLS}
    assert await system.count(giver) == CALLS
    assert len(system.rows(backup_id)) == CALLS
    system.close()


def test_a_server_behind_a_pooler_of_statements_does_not_start(
    programs: Programs, tmp_path: Path, database_url: str
) -> None:
    with PgBouncer(database_url, "statement") as pooler:
        (tmp_path / "tokens.json").write_text('{"tokens": []}', encoding="ascii")
        settings = ("--database", pooler.url, "--tokens", str(tmp_path / "tokens.json"))
        server = programs.start("server", "--grpc-listen", free_address(), *settings)
        assert server.wait() == 2
        assert "its pool mode is 'statement', expected is 'transaction' or 'session'" in server.printed
