"""The examples in the client's docstrings, run as tests."""

from __future__ import annotations

import ast
import asyncio
import doctest
import uuid
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import backupsharing.client
from backupsharing.client import AsyncClient, Client
from tests.support.system import SERVICE_TOKEN, System

MODULES = ("asynchronous", "endpoint", "errors", "model", "retrying", "synchronous")
FOUND = [
    test
    for module in (backupsharing.client, *(import_module(f"backupsharing.client.{name}") for name in MODULES))
    for test in doctest.DocTestFinder().find(module)
    if test.examples
]


def is_awaited(test: doctest.DocTest) -> bool:
    return "AsyncClient" in test.name


class Awaiting:
    """Run the source of an example like ``python -m asyncio``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: dict[str, Any]) -> None:
        self._loop, self._names = loop, names

    def __call__(self, source: str) -> None:
        code = compile(source, "<example>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        ran = eval(code, self._names)  # noqa: S307 -- examples of this repository
        if ran is not None:
            self._loop.run_until_complete(ran)


@pytest.fixture
def names(system: System) -> dict[str, Any]:
    """Return the variables that the examples use."""
    giver, recipient, other = system.new_project(), system.new_project(), system.new_project()
    return {
        **vars(backupsharing.client),
        "target": system.grpc_address,
        "giver": giver.id,
        "token": giver.token,
        "recipient": recipient.id,
        "other": other.id,
        "backup_id": system.put_backup(giver),
        "new_backup_id": str(uuid.uuid4()),
    }


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def run(test: doctest.DocTest, names: dict[str, Any]) -> None:
    test.globs = names
    runner = doctest.DebugRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, clear_globs=False)


@pytest.mark.parametrize("test", [test for test in FOUND if not is_awaited(test)], ids=lambda test: test.name)
def test_an_example_does_what_it_shows(test: doctest.DocTest, names: dict[str, Any]) -> None:
    target = names["target"]
    with (
        Client(target, project=names["giver"], token=names["token"]) as client,
        Client(target, token=SERVICE_TOKEN) as service,
    ):
        run(test, {**names, "client": client, "service": service})


@pytest.mark.parametrize("test", [test for test in FOUND if is_awaited(test)], ids=lambda test: test.name)
def test_an_example_with_await_does_what_it_shows(
    test: doctest.DocTest, names: dict[str, Any], loop: asyncio.AbstractEventLoop
) -> None:
    async def prepare() -> None:
        names["client"] = AsyncClient(names["target"], project=names["giver"], token=names["token"])
        names["service"] = AsyncClient(names["target"], token=SERVICE_TOKEN)

    async def tidy() -> None:
        await names["client"].close()
        await names["service"].close()

    loop.run_until_complete(prepare())
    names["_run"] = Awaiting(loop, names)
    for example in test.examples:
        example.source = f"_run({example.source!r})\n"
    run(test, names)
    loop.run_until_complete(tidy())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_method_has_an_example(kind: type) -> None:
    with_example = {test.name.rpartition(".")[2] for test in FOUND if f".{kind.__name__}." in f"{test.name}."}
    methods = {name for name in vars(kind) if not name.startswith("_")}
    assert methods - with_example == set()


def test_both_clients_have_the_same_methods() -> None:
    assert {name for name in vars(Client) if name[0] != "_"} == {name for name in vars(AsyncClient) if name[0] != "_"}
