"""Connections of the clients: plain text, several servers, and failures in plain sentences."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from backupsharing.client import AsyncClient, BadEndpoint, Client, Retrying, Unavailable
from backupsharing.client.connecting import explained
from backupsharing.client.target import is_local
from backupsharing.v2 import backup_access_pb2, backup_catalog_pb2, backup_sharing_pb2
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.client.callers import PROJECT, Caller
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE
from tests.support.stub_server import Context, StubServer

ONCE = Retrying(attempts=1)


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:1", "127.1.2.3:1", "localhost:1", "LOCALHOST:1", "[::1]:1", "unix:/run/a", "unix:///run/a"),
        *("unix-abstract:a", "dns:localhost:1", "dns:///localhost:1", "ipv4:127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:1"),
        *("ipv6:%5B::1%5D:1", "127.0.0.1:1,127.0.0.2:1"),
    ],
)
def test_plain_text_on_this_machine_is_allowed(target: str) -> None:
    assert is_local(target)
    Client(target, token="t").close()


@pytest.mark.parametrize(
    "target",
    [
        *("sharing.example.com:1", "10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[fe80::1]:1", "localhost.example.com:1"),
        *("dns:///sharing.example.com:1", "dns://127.0.0.1/sharing.example.com:1", "ipv4:127.0.0.1:1,10.0.0.1:1"),
        *("127.0.0.1.example.com:1", "127.0.0.1:1,10.0.0.1:1", "passthrough:///10.0.0.1:1", "xds:///a", "sharing"),
    ],
)
def test_plain_text_to_another_machine_needs_insecure(target: str, tmp_path: Path) -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(BadEndpoint, match="plain text to another machine"):
            client(target, token="t")
    Client(target, token="t", insecure=True).close()
    Client(target, token="t", ca=Certificates(tmp_path).ca).close()


@pytest.mark.parametrize("target", ["a.example:1,b.example:1", "10.0.0.1:1,[::1]:1", "10.0.0.1:1,"])
def test_several_names_are_refused_with_the_way_out(target: str) -> None:
    with pytest.raises(BadEndpoint, match="one name that resolves to all servers"):
        Client(target, insecure=True)


@pytest.mark.parametrize("form", ["{},{}", "ipv4:{},{}"])
def test_calls_take_turns_between_all_servers(stub: StubServer, caller: Caller, form: str) -> None:
    other = StubServer()
    other.answers(b"")
    stub.answers(b"")
    try:
        with Client(form.format(stub.address, other.address), project=PROJECT) as client:
            # The first calls may come before the second connection is made.
            for _ in range(1000):
                client.count()
                if stub.seen and other.seen:
                    break
            seen = len(stub.seen), len(other.seen)
            for _ in range(10):
                client.count()
        assert (len(stub.seen) - seen[0], len(other.seen) - seen[1]) == (5, 5)
    finally:
        other.stop()


def failed(caller: Caller, target: str, **settings: object) -> str:
    with pytest.raises(Unavailable) as raised:
        caller.do(lambda client: client.count(), target=target, retrying=ONCE, **settings)
    assert raised.value.may_be_stored
    return str(raised.value)


@pytest.mark.parametrize("scheme", ["", "unix:"])
def test_where_nothing_listens_is_told(caller: Caller, tmp_path: Path, scheme: str) -> None:
    target = f"unix:{tmp_path}/none" if scheme else free_address()
    assert failed(caller, target) == f"Nothing listens at {target}: the connection was refused."


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a web server that speaks HTTP/1.1 only; return its address."""
    stopping = threading.Event()

    def serve(server: socket.socket) -> None:
        while not stopping.is_set():
            connection, _ = server.accept()
            try:
                with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                    stream.recv(65536)
                    stream.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield "{}:{}".format(*server.getsockname())
        stopping.set()
        socket.create_connection(server.getsockname()).close()
        thread.join(PATIENCE)


def test_the_rest_port_is_told(caller: Caller) -> None:
    with web_server() as address:
        assert failed(caller, address).startswith(f"{address} answers with HTTP/1.1: this is the REST port")


def test_tls_trouble_is_told(caller: Caller, tmp_path: Path) -> None:
    ours, theirs = (Certificates(tmp_path / name) for name in ("ours", "theirs") if (tmp_path / name).mkdir() is None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.issue("server", "127.0.0.1"))
    with web_server(context) as address:
        assert "not signed by the CA in ca (--ca)" in failed(caller, address, ca=theirs.ca)
        assert "this is the REST port" in failed(caller, address, ca=ours.ca)
        assert "ca (--ca) is missing" in failed(caller, address)
    with web_server() as address:
        assert "does not use TLS" in failed(caller, address, ca=ours.ca)


def test_descriptions_that_are_not_known_stay_as_they_are() -> None:
    for text in ("Connection refused by policy", "failed to connect to all addresses; last error: new words", "gone"):
        assert explained(text, "127.0.0.1:1") == text


CONFIG = files("backupsharing").joinpath("service_config.json").read_text(encoding="utf-8")


def test_the_service_config_retries_reads_and_nothing_else() -> None:
    reads = {
        (service.full_name, method.name)
        for service in services()
        for method in service.methods
        if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS and not method.server_streaming
    }
    retried = [(one["service"], one.get("method")) for config in retrying_methods() for one in config["name"]]
    assert set(retried) == reads
    assert len(retried) == len(reads)
    assert json.loads(CONFIG)["loadBalancingConfig"] == [{"round_robin": {}}]


def services() -> list[ServiceDescriptor]:
    modules = (backup_access_pb2, backup_catalog_pb2, backup_sharing_pb2)
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


def retrying_methods() -> list[dict[str, list[dict[str, str]]]]:
    return [config for config in json.loads(CONFIG)["methodConfig"] if "retryPolicy" in config]


def test_grpc_takes_the_service_config(stub: StubServer) -> None:
    def fail_twice(context: Context) -> bytes:
        if len(stub.seen) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b""

    with grpc.insecure_channel(stub.address, options=[("grpc.service_config", CONFIG)]) as channel:
        service = BackupSharingServiceStub(channel)
        stub.behaves(fail_twice)
        service.CountSharings(backup_sharing_pb2.CountSharingsRequest(), timeout=PATIENCE)
        assert len(stub.seen) == 3
        stub.seen.clear()
        with pytest.raises(grpc.RpcError):
            service.ShareBackup(backup_sharing_pb2.ShareBackupRequest(idempotency_key="k"), timeout=PATIENCE)
        assert len(stub.seen) == 1


def test_grpcio_status_reads_the_details_of_a_failure(stub: StubServer) -> None:
    stub.fails(grpc.StatusCode.NOT_FOUND, "gone", ErrorInfo(reason="SHARING_NOT_FOUND", domain="backupsharing"))
    with grpc.insecure_channel(stub.address) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            BackupSharingServiceStub(channel).GetSharing(backup_sharing_pb2.GetSharingRequest())
        status, info = rpc_status.from_call(raised.value), ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "SHARING_NOT_FOUND"
