"""Two servers on one database and two gateways in front of both, whose programs a test ends and starts again."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import Program, Programs
from tests.support.rest import Rest
from tests.support.system import Project, System

_SETTINGS = ("--max-active-sharings", "0", "--sweep-interval", "1")


class Cluster:
    """Running servers and gateways; ``giver`` shares ``backup_id``."""

    def __init__(self, folder: Path, programs: Programs, postgres: str = "") -> None:
        """Start all; the database is a file in the folder, or the one at the URL ``postgres``."""
        self.system = System(folder, programs, 1, *_SETTINGS, postgres=postgres)
        self._programs = programs
        self.addresses = [self.system.grpc_address, free_address()]
        self._servers = [self.system.server, self.system.start_another(self.addresses[1])]
        self.gateways = [Rest(free_address()), Rest(free_address())]
        self._gateways = [self._gateway(number) for number in range(2)]
        self.giver: Project = self.system.new_project()
        self.backup_id = self.system.put_backup(self.giver)
        self.system.close()

    async def end_server(self, number: int, how: signal.Signals) -> None:
        """Kill or drain a server; return once it has ended."""
        await _ended(self._servers[number], how)

    async def start_server(self, number: int) -> None:
        """Start a server that has ended; return once it serves."""
        self._servers[number] = await asyncio.to_thread(self.system.start_another, self.addresses[number])

    async def end_gateway(self, number: int, how: signal.Signals) -> None:
        """Kill or drain a gateway; return once it has ended."""
        await _ended(self._gateways[number], how)

    async def start_gateway(self, number: int) -> None:
        """Start a gateway that has ended; return once it serves."""
        self._gateways[number] = await asyncio.to_thread(self._gateway, number)

    def _gateway(self, number: int) -> Program:
        return self._programs.gateway(self.gateways[number].address, ",".join(self.addresses))


async def _ended(program: Program, how: signal.Signals) -> None:
    program.signal(how)
    assert await asyncio.to_thread(program.wait) == (0 if how is signal.SIGTERM else -how)
    assert "Traceback" not in program.printed
