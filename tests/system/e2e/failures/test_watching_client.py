"""The Python client's watch while its server stops, or is killed, and comes back."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backupsharing.client import AsyncClient, Client, Retrying
from tests.support.programs import PATIENCE
from tests.support.system import Project, System

pytestmark = pytest.mark.resilience

ROUNDS, SHARES = 2, 5
PATIENT = Retrying(attempts=1000)
"""The watch has no such limit, but the changes have."""

EVENTS = ROUNDS * SHARES * 2
"""Each sharing is shared and cancelled."""


def settings_of(project: Project) -> dict[str, Any]:
    return {"project": project.id, "token": project.token, "timeout": PATIENCE, "retrying": PATIENT}


def change(system: System, client: Client, backup_id: str, how: signal.Signals) -> None:
    """Share and cancel; end the server and start it again while a watch is open, in the middle of each round."""
    for number in range(ROUNDS):
        for index in range(SHARES):
            client.share(backup_id, [f"{number}-{index}"])
        system.server.signal(how)
        system.server.wait()
        system.start_server()
        client.cancel_all(backup_id)


def check_against_history(client: Client, backup_id: str, watched: list[str]) -> None:
    """Compare with all events of the backup but the first, which is that the backup was put."""
    _, *expected = (event.cursor for event in client.history(backup_id=backup_id, sort_dir="asc", page_size=3))
    assert watched == expected


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_watch_outlives_its_server_and_misses_nothing(own_system: System, how: signal.Signals) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    with (
        Client(own_system.grpc_address, **settings_of(giver)) as client,
        ThreadPoolExecutor(1) as pool,
        client.watch(backup_id=backup_id) as watch,
    ):
        watched = pool.submit(lambda: [next(watch).cursor for _ in range(EVENTS)])
        change(own_system, client, backup_id, how)
        check_against_history(client, backup_id, watched.result(PATIENCE))


async def test_an_awaited_watch_outlives_its_server_too(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    with Client(own_system.grpc_address, **settings_of(giver)) as client:
        async with (
            AsyncClient(own_system.grpc_address, **settings_of(giver)) as own,
            own.watch(backup_id=backup_id) as watch,
        ):
            changing = asyncio.create_task(asyncio.to_thread(change, own_system, client, backup_id, signal.SIGKILL))
            watched = [(await asyncio.wait_for(anext(watch), PATIENCE)).cursor for _ in range(EVENTS)]
            await changing
        check_against_history(client, backup_id, watched)
