"""The cost of metrics: shares a second with them and without, the time of a scrape, and of what a call updates."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import statistics
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import grpc
from prometheus_client import CollectorRegistry

from backup_sharing.metrics.server import ServerMetrics
from backup_sharing.rpc.status import REASONS
from backup_sharing.usecases import policy
from bench import system as endpoints
from bench.load import Load, Rounds, in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.processes import running_on
from bench.progress import tell
from bench.system import Endpoint, System, system
from restmap_gateway.metrics.gateway import GatewayMetrics

WITH_TO_WITHOUT: Final = "shares/s: with metrics / without"
SCRAPE: Final = "scrape of the server, ms"

PROJECTS: Final = 100_000
"""Projects that have called before the scrapes."""

_ENDPOINTS: Final = (endpoints.GRPC, endpoints.MULTIPLEXED)
_CALLERS: Final = 64
_AT_ONCE: Final = 64
_SCRAPES: Final = 30
_UPDATES: Final = 100_000
_METHOD: Final = "/backupsharing.v2.BackupSharingService/ShareBackup"


def measure_metrics(setting: Setting) -> Outcome:
    """Load with and without metrics in turn; then scrapes of a pair that has seen many projects."""
    with ExitStack() as stack:
        on = stack.enter_context(system(setting.cores, _ENDPOINTS, admin=True, add_tokens=_add_tokens))
        off = stack.enter_context(system(setting.cores, _ENDPOINTS, add_tokens=_add_tokens))
        load = stack.enter_context(load_generator(setting.cores))
        found = _loaded(load, {"without": off, "with": on}, setting.rounds)
        on.verify()
        off.verify()
        with running_on(setting.cores.load):
            asyncio.run(_see_projects(on.address(endpoints.MULTIPLEXED)))
        scrapes = {name: _scraped(address) for name, address in on.admin.items()}
    updates = {"server, a share": _seconds_of(_server_updates()), "gateway, a request": _seconds_of(_gateway_updates())}
    return Outcome(
        "metrics",
        "Metrics",
        f"A share, {_CALLERS} callers, in front of a pair with `--admin-listen` and of one without, in turn. Then"
        f" {number(PROJECTS)} projects make a call each, and {_SCRAPES} scrapes follow, uncompressed, one by one.",
        [
            Table(("endpoint", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()]),
            Table(("with to without", "shares/s"), [(one.name, number(_ratio(found, one), 3)) for one in _ENDPOINTS]),
            Table(("scrape", "median ms", "most ms", "KB", "series"), [_row(*one) for one in scrapes.items()]),
            Table(("update", "µs"), [(name, number(seconds * 1e6, 2)) for name, seconds in updates.items()]),
        ],
        values={
            **{f"{one.name}: {WITH_TO_WITHOUT}": _ratio(found, one) for one in _ENDPOINTS},
            WITH_TO_WITHOUT: statistics.mean(_ratio(found, one) for one in _ENDPOINTS),
            SCRAPE: statistics.median(scrapes["server"][0]),
        },
    )


def _loaded(load: Load, pairs: Mapping[str, System], rounds: int) -> Mapping[str, Rounds]:
    variants = {
        f"{endpoint.name}, {name} metrics": partial(pair.job, endpoint, callers=_CALLERS, seconds=1.5)
        for endpoint in _ENDPOINTS
        for name, pair in pairs.items()
    }
    return in_turn(load, variants, rounds)


def _ratio(found: Mapping[str, Rounds], endpoint: Endpoint) -> float:
    return ratio(found[f"{endpoint.name}, with metrics"], found[f"{endpoint.name}, without metrics"])


def _project(number: int) -> str:
    return f"{number:032x}"


def _add_tokens(path: Path) -> None:
    """Add a token for each project to a token file: its id."""
    document = json.loads(path.read_text("utf-8"))
    document["tokens"] += [
        {
            "sha256": hashlib.sha256(project.encode()).hexdigest(),
            "project_id": project,
            "roles": ["member"],
            "user_id": "bench",
            "expires_at": None,
        }
        for project in map(_project, range(PROJECTS))
    ]
    path.write_text(json.dumps(document), "utf-8")


async def _see_projects(address: str) -> None:
    began, left = time.monotonic(), iter(range(PROJECTS))
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(f"http://{address}", connector=connector) as client:

        async def call() -> None:
            for project in map(_project, left):
                path, headers = f"/v2/{project}/os-vendor-backup-sharing/count", {"X-Auth-Token": project}
                async with client.get(path, headers=headers) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"status {answer.status} to a call of a project")
                    await answer.read()

        async with asyncio.TaskGroup() as calls:
            for _ in range(_AT_ONCE):
                calls.create_task(call())
    tell(f"{number(PROJECTS)} projects have called after {time.monotonic() - began:.0f} s")


_Scrapes = tuple[Sequence[float], bytes]
"""Milliseconds of each scrape, and the last page."""


def _scraped(address: str) -> _Scrapes:
    took, page = [], b""
    for _ in range(_SCRAPES):
        client = http.client.HTTPConnection(address)
        began = time.perf_counter()
        client.request("GET", "/metrics")
        answer = client.getresponse()
        page = answer.read()
        took.append((time.perf_counter() - began) * 1000)
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status} to a scrape")
    return took, page


def _row(name: str, scrapes: _Scrapes) -> Sequence[str]:
    took, page = scrapes
    series = [line for line in page.splitlines() if not line.startswith(b"#")]
    figures = (number(statistics.median(took), 1), number(max(took), 1))
    return (name, *figures, number(len(page) / 1000), number(len(series)))


def _server_updates() -> Callable[[], None]:
    """Return what a share updates, if its batch has no other."""
    metrics = ServerMetrics(
        CollectorRegistry(),
        "sqlite",
        dict.fromkeys(policy.METHODS, "unary"),
        [code.name for code in grpc.StatusCode],
        REASONS,
    )
    calls, store, waited = metrics.calls, metrics.store, (0.001,)

    def update() -> None:
        calls.began(_METHOD)
        calls.identified(0.00002)
        store.taken(waited)
        calls.ended(_METHOD, "OK", "", 0.004)

    return update


def _gateway_updates() -> Callable[[], None]:
    metrics = GatewayMetrics(CollectorRegistry(), ("GET", "POST"))
    return partial(metrics.handled, "POST", "/v2/{project_id}/os-vendor-backup-sharing", 200, 0.005)


def _seconds_of(update: Callable[[], None]) -> float:
    return min(timeit.repeat(update, number=_UPDATES, repeat=3)) / _UPDATES
