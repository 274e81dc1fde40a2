"""A server and its gateways for a measurement, with backups to share in them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backupsharing.v2 import backup_catalog_pb2, backup_catalog_pb2_grpc
from backupsharing.v2.backup_pb2 import Backup
from server.identity.static import add_token

OWNER = "c13f5220dc1949b0b741ea81a7cd5554"
TOKEN = "bench-owner"  # noqa: S105 - good on a server that lives for one measurement
BACKUPS = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """All doors, and the processes behind them."""

    grpc_address: str
    url: str
    unary_url: str
    """Of a gateway that sends every call by itself."""
    database: Path
    processes: tuple[Process, ...]

    def cpu_seconds(self) -> float:
        """What all processes have used so far, in user and system time."""
        return sum(_cpu_seconds(process.pid) for process in self.processes)


def backup_id(index: int) -> str:
    """The id of one of the backups that can be shared."""
    return f"00000000-0000-4000-8000-{index % BACKUPS:012}"


@asynccontextmanager
async def running_pair(folder: Path) -> AsyncIterator[Pair]:
    """Start a server and two gateways in an empty folder, and stop them."""
    grpc_address, rest_address, unary_address = _free_address(), _free_address(), _free_address()
    tokens, database = folder / "tokens.json", folder / "bench.db"
    add_token(tokens, OWNER, ["member"], "bench", None, token=TOKEN)
    add_token(tokens, "", ["service"], "bench-service", None, token=f"{TOKEN}-service")
    server = await _start(
        "server", "--grpc-listen", grpc_address, "--database", str(database), "--tokens", str(tokens),
        "--max-active-sharings", "0",
    )  # fmt: skip
    gateway = await _start("gateway", "--listen", rest_address, "--upstream", grpc_address, "--multiplex")
    unary = await _start("gateway", "--listen", unary_address, "--upstream", grpc_address, "--no-multiplex")
    try:
        await _seed(grpc_address)
        for address in (rest_address, unary_address):
            await _until_listening(address)
        urls = (f"http://{rest_address}", f"http://{unary_address}")
        yield Pair(grpc_address, *urls, database, (server, gateway, unary))
    finally:
        for process in (gateway, unary, server):
            process.terminate()
            await process.wait()


async def _start(module: str, *arguments: str) -> Process:
    command = (sys.executable, "-P", "-m", module, *arguments, "--stop-on-stdin-close")
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=DEVNULL)


async def _seed(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        stub = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
        for index in range(BACKUPS):
            backup = Backup(id=backup_id(index), project_id=OWNER, status="available", name=f"backup-{index}", size=1)
            request = backup_catalog_pb2.PutBackupRequest(backup=backup)
            await stub.PutBackup(request, metadata=(("x-auth-token", f"{TOKEN}-service"),))


async def _until_listening(address: str) -> None:
    host, _, port = address.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def _free_address() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{trial.getsockname()[1]}"


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
