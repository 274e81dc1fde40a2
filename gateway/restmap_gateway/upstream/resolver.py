"""Which servers there are: addresses as they stand in the settings, and those that DNS knows now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog

from restmap_gateway.upstream.server_address import ServerAddress

DNS = "dns:///"
"""What a target begins with that stands for all addresses of a name."""

_LOOK_UP_SECONDS = 5.0
"""How long DNS may take to answer."""

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""Answers the ``HOST:PORT`` of each address of a name.

Raises:
    OSError: the name is not known, or nobody can be asked.
"""


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses that this machine's resolver knows of a name.

    Raises:
        OSError: the name is not known, or nobody can be asked.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = (str(address[0]) for *_, address in found)
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in addresses]


class Resolver:
    """Turns targets into addresses."""

    def __init__(self, targets: Sequence[str], look_up: LookUp = look_up) -> None:
        """Prepare to look up ``targets``: ``HOST:PORT``, ``unix:PATH`` or ``dns:///HOST:PORT`` each."""
        self._targets = targets
        self._look_up = look_up
        self._known: dict[str, Sequence[ServerAddress]] = {
            target: () if target.startswith(DNS) else (ServerAddress(target),) for target in targets
        }
        self._log = structlog.get_logger("restmap_gateway.upstream.resolver")
        self._failed: set[str] = set()

    @property
    def asks_dns(self) -> bool:
        """Whether the answer can change."""
        return any(target.startswith(DNS) for target in self._targets)

    async def addresses(self) -> Sequence[ServerAddress]:
        """The addresses now, each once; of a name that cannot be looked up those that it had before."""
        await asyncio.gather(*(self._ask(target) for target in self._targets if target.startswith(DNS)))
        by_target = {address.target: address for target in self._targets for address in self._known[target]}
        return list(by_target.values())

    async def _ask(self, target: str) -> None:
        name = target.removeprefix(DNS)
        host, _, port = name.rpartition(":")
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                found = await self._look_up(host.strip("[]"), int(port))
        except (OSError, TimeoutError, UnicodeError) as error:  # the last for labels that are too long
            found, why = (), str(error) or "no answer in time"
        else:
            why = "no addresses"
        if found:
            self._known[target] = [ServerAddress(address, name) for address in found]
            self._failed.discard(target)
        elif target not in self._failed:
            self._failed.add(target)  # said once, not at every attempt
            self._log.warning("resolve", target=target, problem=why, kept=len(self._known[target]))
