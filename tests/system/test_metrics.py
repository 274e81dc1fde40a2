"""Metrics of a server and a gateway as Prometheus sees them: all of them documented, none made up by a client."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest_asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import backup_sharing.config
import restmap_gateway.config
from backup_sharing import app as server_app
from backup_sharing.gateway_program import PROGRAM
from backup_sharing.identity.static import add_token
from restmap_gateway import app as gateway_app
from tests.gateway.http.gateways import StoppableLifetime
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"
LIST = f"/v2/{PROJECT}/os-vendor-backup-sharing/detail"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (\w*) \| (.+) \|$", re.MULTILINE)

Shape = tuple[str, frozenset[str]]
"""Type and labels of a family."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A server and a gateway in this process."""

    grpc: str
    rest: str
    admin: Mapping[str, str]

    async def scraped(self, program: str) -> list[Metric]:
        async with aiohttp.ClientSession() as client, client.get(f"http://{self.admin[program]}/metrics") as answer:
            assert answer.status == 200
            return list(text_string_to_metric_families(await answer.text()))

    async def series(self, program: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        samples = [one for family in await self.scraped(program) for one in family.samples]
        return {(one.name, tuple(sorted(one.labels.items()))) for one in samples}

    async def total(self, program: str, name: str) -> float:
        return sum(one.value for each in await self.scraped(program) for one in each.samples if one.name == name)

    async def rest_status(self, method: str, path: str, **headers: str) -> int:
        url = f"http://{self.rest}{path}"
        async with aiohttp.ClientSession() as client, client.request(method, url, headers=headers) as answer:
            return answer.status


@asynccontextmanager
async def serving(serve: object, settings: object) -> AsyncIterator[None]:
    lifetime = StoppableLifetime()
    task = asyncio.create_task(serve(settings, lifetime))  # type: ignore[operator]  # the serve of either app
    started = asyncio.create_task(lifetime.serving.wait())
    await asyncio.wait((task, started), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task.result()
    try:
        yield
    finally:
        lifetime.stop.set()
        await task


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Yield a pair with Keystone configured, where nobody listens, and a token file."""
    pair = Pair(free_address(), free_address(), {"server": free_address(), "gateway": free_address()})
    add_token(tmp_path / "tokens.json", PROJECT, ["member"], "max", None, token="known")
    server = backup_sharing.config.load(
        [
            *("--grpc-listen", pair.grpc, "--admin-listen", pair.admin["server"], "--drain-notice", "0"),
            *("--database", str(tmp_path / "sharings.db"), "--tokens", str(tmp_path / "tokens.json")),
            *("--keystone-url", f"http://{free_address()}", "--drain-timeout", "0.1"),
        ]
    )
    gateway = restmap_gateway.config.load(
        [
            *("--listen", pair.rest, "--upstream", pair.grpc, "--admin-listen", pair.admin["gateway"]),
            *("--drain-notice", "0", "--drain-timeout", "0.1", "--no-docs"),
        ],
        program=PROGRAM,
    )
    async with AsyncExitStack() as running:
        await running.enter_async_context(serving(server_app.serve, server))
        await running.enter_async_context(serving(gateway_app.serve, gateway))
        yield pair


def documented(program: str) -> dict[str, Shape]:
    chapters = PAGE.read_text(encoding="utf-8").split("\n## ")
    text = "\n".join(one for one in chapters if one.startswith((f"backup-sharing-{program}\n", "Both programs\n")))
    rows = ROW.findall(text)
    assert len(rows) > 15
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _, _ in rows}


def shapes(families: list[Metric]) -> dict[str, Shape]:
    """Return what was scraped, by name as documented; a family without samples is not there yet."""
    found: dict[str, Shape] = {}
    for family in families:
        if family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = family.type, frozenset(labels)
    return found


async def test_every_metric_is_documented_and_every_name_exists(pair: Pair) -> None:
    assert await pair.rest_status("GET", LIST, **{"X-Auth-Token": "known"}) == 200
    assert await pair.rest_status("GET", LIST, **{"X-Auth-Token": "unknown"}) == 503
    async with asyncio.timeout(PATIENCE):
        # Sharings are counted last.
        while "backup_sharing_sharings_active" not in shapes(await pair.scraped("server")):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    of_postgres = {name for name in documented("server") if name.startswith("backup_sharing_postgres_")}
    expected = {name: shape for name, shape in documented("server").items() if name not in of_postgres}
    assert len(of_postgres) > 5
    assert shapes(await pair.scraped("server")) == expected
    assert shapes(await pair.scraped("gateway")) == documented("gateway")


WORDS = "aZ09-_.~:/%"


async def garbage(pair: Pair, channel: grpc.aio.Channel, number: int) -> None:
    """Make calls that differ in everything that a client can choose."""
    drawn = random.Random(number)  # noqa: S311 -- test data
    word = "".join(drawn.choices(WORDS, k=drawn.randrange(1, 40)))
    plain = word.translate({ord(one): None for one in "%/:"}) or "x"
    method = ("GET", "PUT", "OPTIONS", "DELETE")[number % 4]
    await pair.rest_status(method, f"/{plain}", **{"X-Openstack-Request-Id": plain, f"X-{number}": plain})
    await pair.rest_status("GET", f"/v2/{plain}/os-vendor-backup-sharing/detail?{plain}=1", **{"User-Agent": plain})
    await pair.rest_status("GET", f"/v2/{plain}/os-vendor-backup-sharing/detail", **{"X-Auth-Token": plain})
    await pair.rest_status("DELETE", f"/v2/{PROJECT}/os-vendor-backup-sharing/{plain}", **{"X-Auth-Token": "known"})
    service = "/backupsharing.v2.BackupSharingService"
    for name in (f"/{plain}/{plain}", f"{service}/{plain}", f"{service}/ListSharings", f"{service}/GetSharing"):
        with suppress(grpc.aio.AioRpcError):
            await channel.unary_unary(name)(word.encode(), metadata=(("x-auth-token", plain), (f"x-{number}", plain)))


async def test_no_client_can_add_a_series(pair: Pair) -> None:
    async with grpc.aio.insecure_channel(pair.grpc) as channel:
        for number in range(12):
            await garbage(pair, channel, number)
        known = {program: await pair.series(program) for program in pair.admin}
        before = await pair.total("server", "grpc_server_handled_total")
        for number in range(12, 40):
            await garbage(pair, channel, number)
    assert await pair.total("server", "grpc_server_handled_total") >= before + 28 * 4
    for program in pair.admin:
        assert await pair.series(program) - known[program] == set()
    unknown = [one for one in known["server"] if ("grpc_method", "unknown") in one[1]]
    assert unknown
