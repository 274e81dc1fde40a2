"""Two servers on one database and two gateways in front of both, whose programs a test kills and starts again."""

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

    async def kill_server(self, number: int) -> None:
        """Kill a server; return once it has ended."""
        await self._kill(self._servers[number])

    async def start_server(self, number: int) -> None:
        """Start a killed server; return once it serves."""
        self._servers[number] = await asyncio.to_thread(self.system.start_another, self.addresses[number])

    async def kill_gateway(self, number: int) -> None:
        """Kill a gateway; return once it has ended."""
        await self._kill(self._gateways[number])

    async def start_gateway(self, number: int) -> None:
        """Start a killed gateway; return once it serves."""
        self._gateways[number] = await asyncio.to_thread(self._gateway, number)

    async def _kill(self, program: Program) -> None:
        program.signal(signal.SIGKILL)
        await asyncio.to_thread(program.wait)

    def _gateway(self, number: int) -> Program:
        return self._programs.gateway(self.gateways[number].address, ",".join(self.addresses))
