"""Addresses of the servers: the configured ones and those that DNS returns for names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog

from restmap_gateway.upstream.server_address import DNS as DNS
from restmap_gateway.upstream.server_address import ServerAddress

_LOOK_UP_SECONDS = 5.0
"""Maximum seconds for a DNS lookup."""

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns ``HOST:PORT`` for each address of a name.

Raises:
    OSError: the name is unknown, or no DNS server responds.
"""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Return all addresses of a name, from the resolver of this machine.

    Raises:
        OSError: the name is unknown, or no DNS server responds.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = (str(address[0]) for *_, address in found)
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]


class Resolver:
    """Resolves targets to addresses."""

    def __init__(self, targets: Sequence[str], look_up: LookUp = look_up) -> None:
        """Store the ``targets``: each is ``HOST:PORT``, ``unix:PATH`` or ``dns:///HOST:PORT``."""
        self._targets = targets
        self._look_up = look_up
        self._known: dict[str, Sequence[ServerAddress]] = {
            target: () if target.startswith(DNS) else (ServerAddress(target),) for target in targets
        }
        self._log = structlog.get_logger("restmap_gateway.upstream.resolver")
        self._failed: set[str] = set()

    @property
    def asks_dns(self) -> bool:
        """Return whether DNS is used, so that the addresses can change."""
        return any(target.startswith(DNS) for target in self._targets)

    async def addresses(self) -> Sequence[ServerAddress]:
        """Return the current addresses without duplicates; a name that cannot be resolved keeps its last addresses."""
        await asyncio.gather(*(self._ask(target) for target in self._targets if target.startswith(DNS)))
        by_target = {address.target: address for target in self._targets for address in self._known[target]}
        return list(by_target.values())

    async def _ask(self, target: str) -> None:
        name = target.removeprefix(DNS)
        host, _, port = name.rpartition(":")
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                found = await self._look_up(host.strip("[]"), int(port))
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a label is too long
            found, why = (), str(error) or "no answer in time"
        else:
            why = "no addresses"
        if found:
            self._known[target] = [ServerAddress(address, name) for address in found]
            self._failed.discard(target)
        elif target not in self._failed:
            self._failed.add(target)  # logged once, not at every attempt
            self._log.warning("resolve", target=target, problem=why, kept=len(self._known[target]))
