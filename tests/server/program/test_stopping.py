"""The end of a server: it waits for calls, and not for clients that have none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from backup_sharing import app

SETTINGS: Any = SimpleNamespace(drain_timeout=10.0)


@dataclass
class Unacknowledged:
    """A gRPC server with a client that never acknowledges the end, and so one that only ends at once."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    limits: list[float | None] = field(default_factory=list)

    async def stop(self, limit: float | None) -> None:
        self.limits.append(limit)
        if limit is None:
            self.ended.set()
        await self.ended.wait()


@dataclass
class Looks:
    """A pipeline or its traffic: whether it is idle, look by look, and the last state for ever."""

    states: Iterator[bool]
    last: bool = True
    looks: int = 0

    @property
    def is_idle(self) -> bool:
        self.looks += 1
        self.last = next(self.states, self.last)
        return self.last


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_LOOK_EVERY", 0.001)


async def stop(server: Any, pipeline: Any, traffic: Any) -> None:  # noqa: ANN401 -- stands in for the real ones
    store: Any = SimpleNamespace(failed=asyncio.Event())
    await app._stop(server, pipeline, traffic, SETTINGS, store)


async def test_a_client_without_a_call_is_not_waited_for() -> None:
    server = Unacknowledged()
    await stop(server, Looks(iter(())), Looks(iter(())))
    assert server.limits == [10.0, None]


@pytest.mark.parametrize("busy", ["pipeline", "traffic"])
async def test_a_call_in_progress_is_waited_for(busy: str) -> None:
    server, calls = Unacknowledged(), Looks(iter([False] * 50 + [True]))
    idle = Looks(iter(()))
    await stop(server, *((calls, idle) if busy == "pipeline" else (idle, calls)))
    assert server.limits == [10.0, None]
    assert calls.looks >= 50 + app._QUIET_LOOKS


async def test_a_pause_between_two_calls_is_not_the_end() -> None:
    server = Unacknowledged()
    calls = Looks(iter([True] * (app._QUIET_LOOKS - 1) + [False, True]))
    await stop(server, calls, Looks(iter(())))
    assert calls.looks >= 2 * app._QUIET_LOOKS


async def test_a_server_whose_clients_acknowledge_ends_by_itself() -> None:
    server = Unacknowledged()
    server.ended.set()
    await stop(server, Looks(iter(())), Looks(iter(())))
    assert server.limits == [10.0]
