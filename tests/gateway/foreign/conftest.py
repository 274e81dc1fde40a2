"""Gateways in front of foreign services, started once per module; the server's state is reset for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import System
from tests.support.protoc import compiled

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


@pytest.fixture(scope="session")
def descriptor_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that compiles a foreign proto once and returns the path of its descriptor set."""
    folder = tmp_path_factory.mktemp("sets")

    def compile_once(name: str) -> Path:
        target = folder / f"{name}.binpb"
        return target if target.exists() else compiled(target, f"foreign/v1/{name}.proto")

    return compile_once


@pytest.fixture(scope="module")
def start(system: System, descriptor_set: Callable[[str], Path]) -> Iterator[NewForeign]:
    """Return a function that starts a gateway for a foreign proto with settings."""
    with ExitStack() as cleanups:

        def new(name: str, **settings: object) -> Foreign:
            return cleanups.enter_context(closing(Foreign(system, descriptor_set(name), **settings)))

        yield new


@pytest.fixture(autouse=True)
def _forgotten(system: System) -> None:
    system.echo.forget()


@pytest.fixture(scope="module")
def everything(start: NewForeign) -> Foreign:
    """Services with one of every type."""
    return start("everything")


@pytest.fixture(scope="module")
def paths(start: NewForeign) -> Foreign:
    """Services with every form of path template."""
    return start("paths")


@pytest.fixture(scope="module")
def legacy(start: NewForeign) -> Foreign:
    """Service in proto2."""
    return start("legacy")


@pytest.fixture(scope="module")
def lenient(start: NewForeign) -> Foreign:
    """Services with one of every type, behind a lenient gateway, which ignores unknown members."""
    return start("everything", lenient=True)
