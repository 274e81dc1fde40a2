"""The board and the alerts of docs/operation, with a real Prometheus that scrapes running programs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest

from backupsharing.v2.backup_access_pb2 import CheckAccessRequest, WatchSharingsRequest
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from tests.identity.keystone_stub import KeystoneStub
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Programs
from tests.support.system import SERVICE_TOKEN, Project, System
from tests.system.operation.prometheus import OPERATION, Prometheus, alert_rules, needs_prometheus, patience

pytestmark = [needs_prometheus, pytest.mark.outside]

_COMPARISON = re.compile(r"\s*(==|>)\s*[\d.e]+$")


def board_expressions() -> Iterator[str]:
    """Yield every expression of the board, with values for its variables."""
    board = json.loads((OPERATION / "board.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] for panel in panels)
    for target in (target for panel in panels for target in panel["targets"]):
        expression: str = target["expr"]
        yield re.sub(r"\$(server|gateway)\b", ".*", expression).replace("$__rate_interval", "1m")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((\w+), instance\)", variable["query"]["query"])
            assert metric, variable
            yield metric[1]


def alert_operands() -> Iterator[str]:
    """Yield both sides of every division, and everything that is compared, in the expressions of the alerts."""
    for rule in alert_rules():
        compared, times = _COMPARISON.subn("", rule["expr"])
        assert times == 1, rule
        yield from re.split(r"\s+/\s+", compared)


class Pair:
    """Server and gateway with admin ports."""

    def __init__(self, folder: Path, cleanups: ExitStack, *arguments: str, postgres: str = "") -> None:
        """Start both; ``arguments`` are the server's, and win over the variable that both programs read."""
        folder.mkdir()
        self.server_admin, self.gateway_admin = free_address(), free_address()
        programs = cleanups.enter_context(Programs(BACKUP_SHARING_ADMIN_LISTEN=self.gateway_admin))
        listen = ("--admin-listen", self.server_admin)
        self.system = System(folder, programs, 3, *listen, *arguments, postgres=postgres)
        cleanups.callback(self.system.close)
        self.access = BackupAccessServiceStub(self.system.channel)
        self.giver = self.system.new_project()

    def watch(self) -> Any:  # noqa: ANN401 - a call of gRPC
        """Open a watch of everything."""
        return self.access.WatchSharings(WatchSharingsRequest(), metadata=[("x-auth-token", SERVICE_TOKEN)])

    async def work(self) -> None:
        """Share a backup over REST, ask for it over gRPC, and make calls that fail."""
        backup_id = self.system.put_backup(self.giver)
        await self.system.share(self.giver, backup_id, "recipient")
        await self.system.list(self.giver)
        await self.system.list(Project("nobody"))
        asked = CheckAccessRequest(backup_id=backup_id, project_id="recipient")
        self.access.CheckAccess(asked, metadata=[("x-auth-token", SERVICE_TOKEN)])
        for open_watch in [self.watch() for _ in range(3)]:
            with suppress(grpc.RpcError):
                next(open_watch)
            open_watch.cancel()


@pytest.fixture
async def keystone() -> AsyncIterator[KeystoneStub]:
    stub = KeystoneStub()
    await stub.start()
    yield stub
    await stub.stop()


def scraping(folder: Path, *pairs: Pair) -> Prometheus:
    """Start a Prometheus that scrapes the programs."""
    servers = [pair.server_admin for pair in pairs]
    return Prometheus(
        folder, {"backup-sharing-server": servers, "backup-sharing-gateway": [pair.gateway_admin for pair in pairs]}
    )


async def test_every_expression_of_board_and_alerts_has_a_result(
    tmp_path: Path, database_url: str, keystone: KeystoneStub
) -> None:
    with ExitStack() as cleanups:
        limits = ("--max-watches", "2", "--watch-checkpoint", "0.2")
        sqlite = Pair(tmp_path / "sqlite", cleanups, *limits, "--keystone-url", keystone.url)
        postgres = Pair(tmp_path / "postgres", cleanups, *limits, postgres=database_url)
        prometheus = cleanups.enter_context(scraping(tmp_path, sqlite, postgres))
        shown, alerting = set(board_expressions()), set(alert_operands())
        assert shown
        assert alerting
        waiting, until = shown | alerting, patience()
        watching = sqlite.watch()
        while waiting and time.monotonic() < until:
            await asyncio.gather(sqlite.work(), postgres.work())
            sqlite.system.spoil_backups()  # so that some calls fail
            await sqlite.system.list(sqlite.giver)
            empty = {expression for expression in waiting if not prometheus.query(expression)}
            if empty != waiting:
                waiting, until = empty, patience()
        watching.cancel()
        assert waiting == set()


def status(address: str, path: str) -> int:
    """Return the HTTP status of a page; 0 without an answer, because the program starts or has ended."""
    try:
        with urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


async def until_all(*conditions: tuple[str, Any]) -> None:
    """Wait until each condition, in turn, holds."""
    for what, holds in conditions:
        until = patience()
        while not await asyncio.to_thread(holds):
            assert time.monotonic() < until, what
            await asyncio.sleep(0.1)


def pages(pair: Pair, expected: int) -> Sequence[tuple[str, Any]]:
    """Return the conditions that a gateway's pages for probes have this status."""
    public = pair.system.rest.address
    return [
        (f"/readyz is {expected}", lambda: status(pair.gateway_admin, "/readyz") == expected),
        (f"/healthz is {expected}", lambda: status(public, "/healthz") == expected),
    ]


def alerts(prometheus: Prometheus, state: Mapping[str, bool]) -> Sequence[tuple[str, Any]]:
    """Return the conditions that alerts fire or do not."""
    return [
        (
            f"{name} {'fires' if fires else 'is over'}",
            lambda name=name, fires=fires: prometheus.is_firing(name) is fires,
        )
        for name, fires in state.items()
    ]


async def test_a_stopped_server_is_seen_by_probes_then_by_alerts(tmp_path: Path) -> None:
    fired = {"BackupSharingServerDown": True, "BackupSharingNoServer": True}
    over = dict.fromkeys(fired, False)
    with ExitStack() as cleanups:
        pair = Pair(tmp_path / "pair", cleanups)
        prometheus = cleanups.enter_context(scraping(tmp_path, pair))
        scraped = ("both are scraped", lambda: len(prometheus.query("up == 1")) == 2)
        await until_all(*pages(pair, 200), scraped, *alerts(prometheus, over))
        await pair.work()
        pair.system.server.end()
        await until_all(*pages(pair, 503), *alerts(prometheus, fired))
        pair.system.start_server()
        await until_all(*pages(pair, 200), *alerts(prometheus, over))
        await pair.work()
