"""Gateways in front of foreign services, started once per module; the server's state is reset for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import System
from tests.support.protoc import DescriptorSets

STREAMED = ["Failing", "LikeFailure", "Custom", "Any", "Struct", "Value", "ListValue", "Time", "Empty", "Holder"]
STREAMS = frozenset(
    {
        "/foreign.v1.Answers/Watch",
        *(f"/foreign.streams.v1.StreamsService/Watch{name}" for name in STREAMED),
    }
)

NewForeign = Callable[..., Foreign]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Return the echo server and the gateways of a module's tests.

    Server and gateways run on the event loop of a separate thread. All event loops of a process share gRPC's poller, so
    no other test may use gRPC on an event loop meanwhile.
    """
    with closing(System(STREAMS)) as system:
        yield system


@pytest.fixture(scope="module")
def start(system: System, descriptor_set: DescriptorSets) -> Iterator[NewForeign]:
    """Return a function that starts a gateway for foreign protos with settings."""
    with ExitStack() as cleanups:

        def new(*names: str, **settings: object) -> Foreign:
            return cleanups.enter_context(closing(Foreign(system, descriptor_set(*names), **settings)))

        yield new


@pytest.fixture(autouse=True)
def _forgotten(system: System) -> None:
    system.echo.forget()


@pytest.fixture(scope="module")
def foreign(start: NewForeign) -> Foreign:
    """Services with one of every type, every form of path template and every kind of body, in proto2 and proto3."""
    return start("everything", "legacy", "contents", "paths")


@pytest.fixture(scope="module")
def lenient(start: NewForeign) -> Foreign:
    """Services with one of every type, behind a lenient gateway, which ignores unknown members."""
    return start("everything", lenient=True)
