"""Each distribution works in an environment that contains only its dependencies."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Programs
from tests.support.protoc import compiled
from tests.support.system import System
from tests.system.distributions.build import DISTRIBUTIONS, Installed, build, environment

pytestmark = pytest.mark.outside


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Wheels in dependency order."""
    folder = tmp_path_factory.mktemp("dist")
    return [build(root, "wheel", folder) for root in DISTRIBUTIONS]


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Server with every method of the library service; echoes the request."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if not details.method.startswith("/library.v1."):
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


@contextmanager
def echoing(address: str) -> Iterator[None]:
    """Run an echo server."""
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(address)
    server.start()
    try:
        yield
    finally:
        server.stop(None)


def got(url: str, **headers: str) -> Any:  # noqa: ANN401 - any JSON value
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - a program that the test started
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return json.load(answer)


@contextmanager
def serving(installed: Installed, name: str, *arguments: str, until: str) -> Iterator[None]:
    """Run a program of the environment; enter the context once ``until`` is printed."""
    words = [str(installed.bin / name), *arguments]
    with subprocess.Popen(
        words,
        cwd=installed.bin.parent,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as program:
        assert program.stdout is not None
        printed = ""
        try:
            while until not in printed:
                line = program.stdout.readline().decode()
                assert line, f"the program ended: {printed}"
                printed += line
            yield
        finally:
            program.terminate()
            program.wait(PATIENCE)


def test_the_client_shares_and_brings_nothing_else(wheels: Sequence[Path], tmp_path: Path) -> None:
    installed = Installed(tmp_path / "client", wheels[:2])
    needed = {"grpcio", "grpcio-health-checking", "protobuf", "googleapis-common-protos", "click", "restmap"}
    of_grpcio = {"typing-extensions"}
    assert installed.distributions - {"pip", "setuptools"} == {"backupsharing-client", *needed, *of_grpcio}
    assert "demo" not in installed.run("backup-sharing", "--help")
    with Programs() as programs:
        (tmp_path / "system").mkdir()
        system = System(tmp_path / "system", programs, 2)
        giver, recipient = system.new_project(), system.new_project()
        backup = system.put_backup(giver)
        known = ("--server", system.grpc_address, "--project", giver.id, "--token", giver.token)
        printed = installed.run("backup-sharing", "share", backup, recipient.id, *known, "--format", "json")
        [shared] = json.loads(printed)["shared"]
    assert (shared["backup_id"], shared["to_project_id"]) == (backup, recipient.id)


def test_the_gateway_serves_a_foreign_service(wheels: Sequence[Path], tmp_path: Path) -> None:
    installed = Installed(tmp_path / "gateway", [wheels[0], wheels[2]])
    assert not [name for name in installed.distributions if name.startswith("backup")]
    described = tmp_path / "library.binpb"
    described.write_bytes(compiled("library.proto"))
    listen, upstream = free_address(), free_address()
    arguments = ("--listen", listen, "--upstream", upstream, "--descriptor-set", str(described))
    with echoing(upstream), serving(installed, "restmap-gateway", *arguments, until='"event":"serving"'):
        assert got(f"http://{listen}/v1/shelves/1/books/2") == {"name": "shelves/1/books/2"}


def test_the_service_runs_its_demo(wheels: Sequence[Path], tmp_path: Path) -> None:
    installed = Installed(tmp_path / "service", wheels)
    tops = {path.name for path in installed.packages.iterdir()}
    assert not tops & {"server", "gateway", "protos", "tests", "bench"}
    listen, project = free_address(), "c13f5220dc1949b0b741ea81a7cd5554"
    admin = ("--admin-listen", free_address(), "--grpc-admin-listen", free_address())
    addresses = ("--listen", listen, "--grpc-listen", free_address(), *admin, "--data", str(tmp_path / "data"))
    with serving(installed, "backup-sharing", "demo", *addresses, until="Ctrl-C stops it"):
        path = f"/v2/{project}/os-vendor-backup-sharing/count"
        assert "count" in got(f"http://{listen}{path}", **{"X-Auth-Token": "demo-owner"})
