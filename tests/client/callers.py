"""Both clients behind one interface, so that each test runs with both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from backupsharing.client import AsyncClient, Client, Retrying

QUICK = Retrying(attempts=4, first_pause=0.01)
PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"


class Caller(Protocol):
    """Makes one call with a new client."""

    def do(self, call: Callable[[Any], Any], **settings: Any) -> Any:  # noqa: ANN401 -- any result
        """Return the result of the call; all items if the result is a list."""


class Blocking:
    """Calls with `Client`."""

    def __init__(self, target: str) -> None:
        self._target = target

    def do(self, call: Callable[[Any], Any], **settings: Any) -> Any:  # noqa: ANN401 -- as above
        with Client(**_with_defaults(self._target, settings)) as client:
            got = call(client)
            return list(got) if isinstance(got, Iterator) else got


class Awaited:
    """Calls with `AsyncClient`."""

    def __init__(self, target: str) -> None:
        self._target = target

    def do(self, call: Callable[[Any], Any], **settings: Any) -> Any:  # noqa: ANN401 -- as above
        async def main() -> Any:  # noqa: ANN401 -- as above
            async with AsyncClient(**_with_defaults(self._target, settings)) as client:
                got = call(client)
                return [one async for one in got] if isinstance(got, AsyncIterator) else await got

        return asyncio.run(main())


def _with_defaults(target: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"target": target, "project": PROJECT, "token": "good", "retrying": QUICK, "timeout": 20.0, **settings}
