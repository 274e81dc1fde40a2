"""Server, gateways, stub and Envoy for one section, with the endpoints through which each can be called."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from backup_sharing.identity.static import add_token
from bench import envoy
from bench.databases import Database, backups_of_owner
from bench.job import TOKEN, Job
from bench.processes import BUILD, Cores, free_address, python, running
from bench.sqlite_database import sqlite_database

ROWS = 10_000
"""Sharings in the database where nothing else is said."""


ALL_WATCHES_OF_ONE = ("--max-project-watches", "0")
"""Arguments of a server whose watches all have the same caller, as those of measurements have."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to call a server."""

    name: str
    """As the tables have it."""
    backend: str
    """``server`` or ``stub``."""
    front: str = ""
    """``multiplexed``, ``unary`` or ``envoy``; empty: gRPC, nothing in front."""

    @property
    def protocol(self) -> str:
        """``rest`` or ``grpc``."""
        return "rest" if self.front else "grpc"


STUB = Endpoint("gRPC, bare stub", "stub")
GRPC = Endpoint("gRPC", "server")
UNARY = Endpoint("REST, a call each", "server", "unary")
MULTIPLEXED = Endpoint("REST, multiplexed", "server", "multiplexed")
ENVOY = Endpoint("REST by Envoy", "server", "envoy")
STUB_UNARY = Endpoint("REST, a call each, bare stub", "stub", "unary")
STUB_MULTIPLEXED = Endpoint("REST, multiplexed, bare stub", "stub", "multiplexed")
STUB_ENVOY = Endpoint("REST by Envoy, bare stub", "stub", "envoy")
DURABLE = (GRPC, UNARY, MULTIPLEXED, ENVOY)
ALL = (STUB, *DURABLE, STUB_UNARY, STUB_MULTIPLEXED, STUB_ENVOY)


class System:
    """What runs, and where."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.acknowledged = folder / "acknowledged"
        self.acknowledged.touch()
        self._found = 0
        self._addresses: dict[tuple[str, str], list[str]] = {}
        self._pids: dict[tuple[str, str], list[int]] = {}
        self.admin: dict[str, str] = {}
        """Addresses of the admin ports, by ``server`` and the kind of gateway."""

    def add(self, backend: str, front: str, address: str, pid: int) -> None:
        """Remember where something listens."""
        self._addresses.setdefault((backend, front), []).append(address)
        self._pids.setdefault((backend, front), []).append(pid)

    def admin_port(self, program: str, *, wanted: bool) -> Sequence[str]:
        """Return the arguments that give a program an admin port; none if it is not wanted."""
        if not wanted:
            return ()
        self.admin[program] = free_address()
        return "--admin-listen", self.admin[program]

    def pids(self, endpoint: Endpoint) -> Mapping[str, Sequence[int]]:
        """Return the ids of the processes behind an endpoint, by ``server``, ``gateway`` and ``database``."""
        behind: dict[str, Sequence[int]] = {"server": self._pids[endpoint.backend, ""]}
        if endpoint.front:
            behind["gateway"] = self._pids[endpoint.backend, endpoint.front]
        if endpoint.backend == "server" and self.database.pid is not None:
            behind["database"] = [self.database.pid]
        return behind

    def address(self, endpoint: Endpoint) -> str:
        """Where an endpoint is, or the first of its kind."""
        return self._addresses[endpoint.backend, endpoint.front][0]

    def job(self, endpoint: Endpoint, call: str = "share", **wanted: Any) -> Job:  # noqa: ANN401 - whatever a Job has
        """A measurement through an endpoint."""
        return Job(
            protocol=endpoint.protocol,
            addresses=self._addresses[endpoint.backend, endpoint.front],
            call=call,
            fixed=endpoint.backend == "stub",
            pids=self.pids(endpoint),
            acknowledged="" if endpoint.backend == "stub" else str(self.acknowledged),
            **{"backups": backups_of_owner(self.database.rows), **wanted},
        )

    def verify(self) -> None:
        """Look for all sharings that were acknowledged since the last time.

        Raises:
            RuntimeError: one is not stored.
        """
        total, lost = self.database.missing(self.acknowledged)
        if lost:
            raise RuntimeError(f"of {total} sharings that were acknowledged, {lost} are not stored")
        self.acknowledged.write_bytes(b"")
        self._found += total

    def take_away_added(self) -> None:
        """Verify what was added, and have as many sharings as at first."""
        self.verify()
        self.database.take_away_added()

    def verified(self) -> str:
        """Say how many sharings were acknowledged; all of them are stored.

        Raises:
            RuntimeError: one is not.
        """
        self.verify()
        return f"{self._found:,} shares acknowledged, each checked, all of them found in the database by their ids."


def there_are(endpoints: Iterable[Endpoint]) -> Sequence[Endpoint]:
    """Return the endpoints that this machine can have."""
    return [endpoint for endpoint in endpoints if endpoint.front != "envoy" or envoy.binary() is not None]


@contextmanager
def system(
    cores: Cores,
    endpoints: Iterable[Endpoint],
    database: Database | None = None,
    servers: int = 1,
    *,
    admin: bool = False,
    add_tokens: Callable[[Path], None] = lambda _: None,
    variables: Mapping[str, str] = MappingProxyType({}),
    arguments: Sequence[str] = (),
) -> Iterator[System]:
    """Start what these endpoints need, on the core of what is tested, and stop it.

    ``database``: where sharings are kept; without one in a file with `ROWS`.
    ``servers``: how many of ours work on the database.
    ``admin``: whether the programs have an admin port, and so metrics.
    ``add_tokens``: called with the token file before the server starts.
    ``variables``: environment variables of the programs.
    ``arguments``: more arguments of our servers, which otherwise have the default settings.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="run-") as name, ExitStack() as stack:
        folder = Path(name)
        here = System(folder, database or stack.enter_context(sqlite_database(ROWS)))
        for backend in dict.fromkeys(endpoint.backend for endpoint in endpoints):
            for _ in range(servers):
                address = free_address()
                command = _server(backend, address, folder, here.database.name, add_tokens)
                if backend == "server":
                    command = [*command, *here.admin_port("server", wanted=admin), *arguments]
                process = stack.enter_context(running(command, cores.tested, address, variables=variables))
                here.add(backend, "", address, process.pid)
        for backend, front in dict.fromkeys(
            (endpoint.backend, endpoint.front) for endpoint in endpoints if endpoint.front
        ):
            address, upstream = free_address(), here.address(Endpoint("", backend))
            command = [*_front(front, address, upstream, folder), *here.admin_port(front, wanted=admin)]
            process = stack.enter_context(running(command, cores.tested, address, variables=variables))
            here.add(backend, front, address, process.pid)
        yield here


def _server(
    backend: str, address: str, folder: Path, database: str, add_tokens: Callable[[Path], None]
) -> Sequence[str]:
    if backend == "stub":
        return python("bench.stub_server", address)
    tokens = folder / "tokens.json"
    if not tokens.exists():
        add_token(tokens, "", ["admin"], "bench", None, token=TOKEN)
        add_tokens(tokens)
    return python(
        *("server", "--grpc-listen", address, "--database", database, "--tokens", str(tokens)),
        "--stop-on-stdin-close",
    )


def _front(front: str, address: str, upstream: str, folder: Path) -> Sequence[str]:
    if front == "envoy":
        return envoy.command(address, upstream, folder)
    multiplex = "--multiplex" if front == "multiplexed" else "--no-multiplex"
    return python("gateway", "--listen", address, "--upstream", upstream, multiplex, "--stop-on-stdin-close")
