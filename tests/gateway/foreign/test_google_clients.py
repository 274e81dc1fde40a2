"""The generated REST clients of Google Cloud make every call through a strict gateway."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import Help

from tests.gateway.foreign import google_clients
from tests.gateway.foreign.google_clients import ClientMethod, filled, path_texts
from tests.gateway.foreign.system import Reply, System
from tests.gateway.foreign.test_upstream_errors import INFO, SAID, failure
from tests.support.programs import PATIENCE

PACKAGES = {"google.cloud.kms_v1": 100, "google.cloud.tasks_v2": 20}
"""Packages with clients, each with a number of paths that it has at least."""

Start = Callable[..., tuple[list[ClientMethod], Callable[[type[Any]], Any]]]


@pytest.fixture(scope="module")
def started(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return a function that starts a gateway for the services of a package; it returns methods and a client maker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about versions of grpcio that the clients will not support

        def start(package: str, **settings: object) -> tuple[list[ClientMethod], Callable[[type[Any]], Any]]:
            pytest.importorskip(package, reason=f"{package} is not installed")
            methods = google_clients.methods_of(package)
            target: Path = tmp_path_factory.mktemp("google") / "set.binpb"
            target.write_bytes(google_clients.descriptor_set(methods))
            address = system.gateway(descriptor_set=target, docs=True, **settings)
            return methods, lambda client: _connected(client, address)

        yield start


def _connected(client: type[Any], address: str) -> Any:  # noqa: ANN401
    anonymous = import_module("google.auth.credentials").AnonymousCredentials()
    transport = client.get_transport_class("rest")
    return client(transport=transport(host=address, credentials=anonymous, url_scheme="http"))


def _snake(name: str, client: Any) -> Callable[..., Any]:  # noqa: ANN401
    """Return the function of a client for a method in CamelCase."""
    known = {one.replace("_", ""): one for one in dir(client) if not one.startswith("_")}
    found: Callable[..., Any] = getattr(client, known[name.lower()])
    return found


def _received(result: Any) -> Any:  # noqa: ANN401
    """Return the message in a client's result: itself, the first page of a list, or an operation."""
    if hasattr(result, "pages"):
        result = result._response
    result = getattr(result, "operation", result)
    return type(result).pb(result) if hasattr(type(result), "pb") else result


@pytest.mark.parametrize("package", PACKAGES)
def test_a_google_client_makes_every_call(started: Start, system: System, package: str) -> None:
    methods, connected = started(package)
    clients = {client: connected(client) for client in {method.client for method in methods}}
    assert sum(len(method.paths) for method in methods) >= PACKAGES[package]
    wrong: list[str] = []
    for method in methods:
        for path in method.paths:
            sent = filled(method.request, path_texts(path["uri"]))
            answer = filled(method.response, {})
            system.echo.forget()
            system.echo.reply = Reply(answer.SerializeToString())
            request = method.request.wrap(sent) if hasattr(method.request, "wrap") else sent
            try:
                result = _snake(method.name, clients[method.client])(request=request, retry=None, timeout=PATIENCE)
                ((called, received),) = system.echo.seen
                assert called == method.full_name
                assert type(sent).FromString(received) == sent
                if method.response.__name__ != "Empty":
                    assert _received(result) == answer
            except Exception as error:  # noqa: BLE001 - all failures in one list
                wrong.append(f"{method.full_name} {path['method']} {path['uri']}: {type(error).__name__}: {error}")
    assert wrong == []


def test_a_google_client_reads_the_details_of_a_failure(started: Start, system: System) -> None:
    methods, connected = started("google.cloud.tasks_v2", error_details="full")
    (client,) = {method.client for method in methods}
    help_link = Help(links=[Help.Link(description="Read this.", url="https://a.example")])
    system.echo.reply = failure(grpc.StatusCode.NOT_FOUND, INFO, help_link)
    exceptions = import_module("google.api_core.exceptions")
    with pytest.raises(exceptions.NotFound) as caught:
        connected(client).get_queue(name="projects/a/locations/b/queues/c", retry=None)
    assert (caught.value.reason, caught.value.domain) == (INFO.reason, INFO.domain)
    assert "library.example" in str(caught.value.details)
    assert SAID in str(caught.value)
