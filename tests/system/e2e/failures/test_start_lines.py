"""The first and the last line of a program's log."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from importlib import metadata
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import AT_ONCE, Programs
from tests.support.system import System, write_tokens
from tests.support.wire import Json


def lines_of(printed: str) -> list[dict[str, Json]]:
    return [json.loads(line) for line in printed.splitlines()]


async def test_the_start_line_names_what_serves_and_where(system: System) -> None:
    [server] = [line for line in lines_of(system.server.printed) if line["event"] == "serving"]
    del server["time"]
    assert server == {
        "event": "serving", "level": "info", "version": metadata.version("backup-sharing"), "tls": False,
        "grpc_listen": system.grpc_address, "identity": ["tokens"], "database": "sqlite",
        "database_version": sqlite3.sqlite_version,
    }  # fmt: skip
    [gateway] = [line for line in lines_of(system.gateway.printed) if line["event"] == "serving"]
    del gateway["time"]
    assert gateway == {
        "event": "serving", "level": "info", "version": metadata.version("restmap-gateway"), "tls": False,
        "listen": system.rest.address, "upstream": [system.grpc_address],
    }  # fmt: skip


async def test_a_server_without_its_database_does_not_say_serving(programs: Programs, tmp_path: Path) -> None:
    write_tokens(tmp_path, [])
    nobody = f"postgresql://somebody@{free_address()}/nothing"
    files = ("--database", nobody, "--tokens", str(tmp_path / "tokens.json"))
    server = programs.start("server", "--grpc-listen", free_address(), *files, *AT_ONCE)
    server.wait_for('"event":"not serving"')
    server.close_stdin()
    assert await asyncio.to_thread(server.wait) == 0
    events = [line["event"] for line in lines_of(server.printed)]
    assert "serving" not in events
    assert events[-1] == "stopped"
