"""``backup-sharing health``: a probe that runs as a command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health_pb2

from backupsharing.commands.program import main
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

CHECK = "/grpc.health.v1.Health/Check"
STATUS = health_pb2.HealthCheckResponse
Answering = Callable[[health_pb2.HealthCheckRequest, grpc.ServicerContext], health_pb2.HealthCheckResponse]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["health", *arguments])


@contextmanager
def serving(
    answering: Answering | None, credentials: grpc.ServerCredentials | None = None, at: str = ""
) -> Iterator[str]:
    """Run a server whose health service answers in this way; None: it has no health service."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    if answering is not None:
        check = grpc.unary_unary_rpc_method_handler(
            answering, health_pb2.HealthCheckRequest.FromString, STATUS.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check}),)
        )
    address = at or free_address()
    if credentials is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, credentials)
    server.start()
    try:
        yield address
    finally:
        server.stop(None).wait()


def statuses(*given: int) -> Answering:
    """Answer with these statuses, then with the last one again."""
    left = list(given)
    return lambda _, __: STATUS(status=left.pop(0) if len(left) > 1 else left[0])


def test_without_a_server_the_exit_code_is_1() -> None:
    address = free_address()
    result = run("--target", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Nothing listens at {address}: the connection was refused.\n"


@pytest.mark.parametrize(
    ("status", "shown"), [(STATUS.NOT_SERVING, "NOT_SERVING"), (STATUS.UNKNOWN, "UNKNOWN"), (77, "status 77")]
)
def test_a_server_that_is_not_serving_has_exit_code_1(status: int, shown: str) -> None:
    with serving(statuses(status)) as address:
        result = run("--target", address)
    assert (result.exit_code, result.stderr) == (1, f"{address}: {shown}\n")


def test_a_server_without_a_health_service_is_named() -> None:
    with serving(None) as address:
        result = run("--target", address)
    assert (result.exit_code, result.stderr) == (1, f"{address}: The server has no health service.\n")


def unknown(request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:
    if request.service != "known.Service":
        context.abort(grpc.StatusCode.NOT_FOUND, "\x1b[31mred")
    return STATUS(status=STATUS.SERVING)


def test_the_service_is_asked_for() -> None:
    with serving(unknown) as address:
        assert run("--target", address, "--service", "known.Service").exit_code == 0
        result = run("--target", address, "--service", "other.Service")
    assert (result.exit_code, result.stderr) == (1, f"{address}: There is no service 'other.Service'.\n")


def test_a_server_that_hangs_is_given_up() -> None:
    def hang(_: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(PATIENCE)
        return STATUS()

    with serving(hang) as address:
        result = run("--target", address, "--timeout", "0.2")
    assert (result.exit_code, result.stderr) == (1, f"{address}: The server did not answer in time.\n")


def test_wait_repeats_the_check_until_it_is_serving() -> None:
    with serving(statuses(STATUS.NOT_SERVING, STATUS.NOT_SERVING, STATUS.SERVING)) as address:
        result = run("--target", address, "--wait", "60")
    assert (result.exit_code, result.stdout) == (0, "SERVING\n")


def test_wait_ends_with_the_last_problem() -> None:
    with serving(statuses(STATUS.NOT_SERVING)) as address:
        result = run("--target", address, "--wait", "0.6")
    assert (result.exit_code, result.stderr) == (1, f"{address}: NOT_SERVING\n")


def test_a_server_that_is_serving_has_exit_code_0() -> None:
    with serving(statuses(STATUS.SERVING)) as address:
        result = run("--server", address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "SERVING\n", "")


def test_a_unix_socket_is_probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with serving(statuses(STATUS.SERVING), at="unix:s"):
        assert run("--target", "unix:s").exit_code == 0
        monkeypatch.setenv("BACKUP_SHARING_SERVER", "unix:s")
        assert run().exit_code == 0


def test_tls_is_used_with_a_ca(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("server", "127.0.0.1")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    with serving(statuses(STATUS.SERVING), grpc.ssl_server_credentials(pair)) as address:
        assert run("--target", address, "--ca", str(certificates.ca)).exit_code == 0
        plain = run("--target", address)
    assert plain.exit_code == 1


BAD: Sequence[Sequence[str]] = (
    ["--ca", "no-such-file"],
    ["--certificate", "c.pem", "--key", "k.pem"],
    ["--timeout", "0"],
    ["--timeout", "nan"],
    ["--wait", "nan"],
    ["--wait", "-1"],
    ["--target", ""],
    ["--target", "localhost:1,127.0.0.1:2"],
)


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_arguments_have_exit_code_2(arguments: Sequence[str]) -> None:
    assert run(*arguments).exit_code == 2
