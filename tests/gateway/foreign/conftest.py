"""Gateways in front of foreign services, started once for each module; each test finds the server behind them new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.house import House
from tests.support.protoc import compiled

STREAMS = frozenset({"/foreign.v1.Answers/Watch"})

NewForeign = Callable[..., Foreign]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The server that echoes, and the gateways of the tests of a module.

    They run on an event loop of a thread of their own. All loops of a process share one poller of gRPC, so no other
    tests may use gRPC on a loop while this one runs.
    """
    with closing(House(STREAMS)) as house:
        yield house


@pytest.fixture(scope="session")
def descriptor_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles one of the foreign protos, or finds it compiled."""
    folder = tmp_path_factory.mktemp("sets")

    def compile_once(name: str) -> Path:
        target = folder / f"{name}.binpb"
        return target if target.exists() else compiled(target, f"foreign/v1/{name}.proto")

    return compile_once


@pytest.fixture(scope="module")
def start(house: House, descriptor_set: Callable[[str], Path]) -> Iterator[NewForeign]:
    """Starts a gateway for one of the foreign protos, with settings."""
    with ExitStack() as cleanups:

        def new(name: str, **settings: object) -> Foreign:
            return cleanups.enter_context(closing(Foreign(house, descriptor_set(name), **settings)))

        yield new


@pytest.fixture(autouse=True)
def _forgotten(house: House) -> None:
    house.echo.forget()


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
    """A service of proto2."""
    return start("legacy")


@pytest.fixture(scope="module")
def lenient(start: NewForeign) -> Foreign:
    """The services with one of every type, behind a gateway that ignores what is unknown."""
    return start("everything", lenient=True)
