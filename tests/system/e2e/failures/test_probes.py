"""Probes of a running pair while its server stops, and of programs whose admin port is taken."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Program, Programs
from tests.support.rest import Rest
from tests.support.system import write_tokens
from tests.support.wire import Answer


async def until(rest: Rest, path: str, status: int) -> Answer:
    """Poll until the status is this one; return the answer."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await rest.call("GET", path)).status != status:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    return answer


async def test_probes_follow_a_server_that_stops_and_is_back(programs: Programs, tmp_path: Path) -> None:
    write_tokens(tmp_path, [])
    address, rest, admins = free_address(), Rest(free_address()), [Rest(free_address()) for _ in range(2)]

    def start() -> Program:
        return programs.server(address, tmp_path, "--admin-listen", admins[0].address)

    server = await asyncio.to_thread(start)
    arguments = (rest.address, address, "--admin-listen", admins[1].address)
    gateway = await asyncio.to_thread(programs.gateway, *arguments)
    for probed in admins:
        assert (await until(probed, "/readyz", 200)).json["status"] == "ready"
    assert (await until(rest, "/healthz", 200)).body == b'{"status":"SERVING"}'

    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    refused = await until(rest, "/healthz", 503)
    assert "No server behind this gateway can be reached." in refused.body.decode()
    unready = await until(admins[1], "/readyz", 503)
    assert [check["name"] for check in unready.json["checks"] if not check["ok"]] == ["upstream"]
    assert (await admins[1].call("GET", "/livez")).status == 200

    await asyncio.to_thread(start)
    await until(admins[1], "/readyz", 200)
    await until(rest, "/healthz", 200)
    await until(admins[0], "/readyz", 200)
    assert "Traceback" not in gateway.printed
    assert not [line for line in gateway.printed.splitlines() if "/readyz" in line or "/livez" in line]

    for module, more in (("server", database(tmp_path)), ("gateway", ("--listen", free_address()))):
        second = programs.start(module, "--admin-listen", admins[1].address, *more)
        assert await asyncio.to_thread(second.wait) == 2
        said = f"--admin-listen: {admins[1].address}: cannot listen there: Address already in use; choose"
        assert said in second.printed
        assert "Traceback" not in second.printed


def database(folder: Path) -> tuple[str, ...]:
    files = ("--database", str(folder / "other.db"), "--tokens", str(folder / "tokens.json"))
    return ("--grpc-listen", free_address(), *files)
