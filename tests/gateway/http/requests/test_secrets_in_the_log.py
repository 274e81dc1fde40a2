"""The process never writes a possible secret of a client to its log."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from tests.gateway.http.foreign import ForeignServer, Weather
from tests.support.attacks.http1 import Crowd, garbage, request
from tests.support.certificates import Certificates
from tests.support.malformed import holding
from tests.support.ports import free_address
from tests.support.programs import Program, Programs
from tests.support.protoc import DescriptorSets
from tests.support.wire import connected, exchange

SECRET = "SeCrEt0fTheCaller"
READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"


@pytest.fixture(params=["weather", "any method"])
def served_set(request: pytest.FixtureRequest, weather: Weather, descriptor_set: DescriptorSets) -> Path:
    """Descriptor sets that cover both HTTP parsers of a gateway."""
    if request.param == "weather":
        return weather.descriptor_set
    return descriptor_set("paths")


async def started(programs: Programs, upstream: str, *arguments: str) -> tuple[Program, str]:
    address = free_address()
    return await asyncio.to_thread(programs.gateway, address, upstream, *arguments), address


async def written(gateway: Program, address: str, tls: ssl.SSLContext | None = None) -> str:
    """Return all output of the process; it flushes its output before it handles and logs this request."""
    reader, writer = await asyncio.open_connection(*address.split(":"), ssl=tls)
    writer.write(request("GET", "/the-last-one", "Connection: close"))
    await reader.read()
    writer.close()
    return await asyncio.to_thread(gateway.wait_for, "/the-last-one")


async def test_no_malformed_request_is_quoted_in_the_log(
    foreign: ForeignServer, served_set: Path, programs: Programs
) -> None:
    gateway, address = await started(
        *(programs, foreign.address, "--descriptor-set", str(served_set), "--log-level", "debug", "--lenient"),
        *("--header-timeout", "1"),  # some of the requests never end
    )
    for target in (READING, READINGS, "/nothing", "/v1/whatever/a"):
        for sent in holding(SECRET, target).values():
            async with connected(address) as connection:
                connection.send(sent)
                await connection.head()
    log = await written(gateway, address)
    assert log.count('"event":"refused"') > 10
    assert SECRET not in log.replace(f'"member":"{SECRET}"', "")  # a lenient gateway logs the names of ignored members


async def test_no_tls_handshake_is_quoted_in_the_log(
    foreign: ForeignServer, weather: Weather, programs: Programs, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("gateway", "localhost", "127.0.0.1")
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    gateway, address = await started(
        programs, foreign.address, "--descriptor-set", str(weather.descriptor_set), "--log-level", "debug", *files
    )
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    for sent in (SECRET.encode(), hello + SECRET.encode() * 60, request("GET", f"/?{SECRET}"), b""):
        with garbage(address, 20, sent) as crowd:
            for connection in crowd.sockets:
                connection.shutdown(socket.SHUT_WR)
                await asyncio.to_thread(connection.recv, 4096)
    log = await written(gateway, address, ssl.create_default_context(cafile=certificates.ca))
    assert SECRET not in log
    assert len(log) < 4096


@pytest.mark.resilience
async def test_a_flood_of_garbage_is_not_a_flood_of_log_lines(
    foreign: ForeignServer, weather: Weather, programs: Programs
) -> None:
    gateway, address = await started(programs, foreign.address, "--descriptor-set", str(weather.descriptor_set))
    for _ in range(30):
        with Crowd(address) as crowd:
            for _ in range(100):
                crowd.join(b"x\r\n\r\n")
    log = await written(gateway, address)
    assert log.count('"event":"refused"') < 1000


async def test_a_long_path_is_cut_in_the_log(foreign: ForeignServer, weather: Weather, programs: Programs) -> None:
    gateway, address = await started(programs, foreign.address, "--descriptor-set", str(weather.descriptor_set))
    await exchange(address, request("GET", "/" + "x" * 15_000))
    log = await written(gateway, address)
    assert max(map(len, log.splitlines())) < 1000
