"""Server that validates tokens with Keystone, over REST and gRPC."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.identity.keystone_stub import KeystoneStub, answering
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest, assert_failure, assert_success

pytestmark = pytest.mark.outside

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"
PATH = f"/v2/{PROJECT}/os-vendor-backup-sharing"


@pytest_asyncio.fixture
async def keystone() -> AsyncIterator[KeystoneStub]:
    stub = KeystoneStub()
    await stub.start()
    yield stub
    await stub.stop()


class KeystoneSystem:
    """Server that accepts only Keystone tokens, with its gateway."""

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        keystone: KeystoneStub,
        *arguments: str,
        grpc_address: str = "",
        to_server: Sequence[str] = (),
    ) -> None:
        """Start both; ``arguments`` are the server's, ``to_server`` those of the gateway about its connection."""
        password = folder / "password"
        password.write_text(f"{keystone.password}\n")
        self.grpc_address = grpc_address or free_address()
        self.server = programs.start(
            "server",
            *("--grpc-listen", self.grpc_address, "--database", str(folder / "sharings.db"), "--stop-on-stdin-close"),
            *("--keystone-url", keystone.url, "--keystone-user", keystone.user, "--keystone-project", "service"),
            *("--keystone-password-file", str(password), "--token-cache-seconds", "600", *arguments),
        )
        self.server.wait_for('"event":"serving"')
        self.rest = Rest(free_address())
        self.gateway = programs.gateway(self.rest.address, self.grpc_address, *to_server)

    async def count(self, token: str) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(self.grpc_address) as channel:
            stub = BackupSharingServiceStub(channel)
            try:
                await stub.CountSharings(  # type: ignore[misc]  # an asynchronous stub
                    pb.CountSharingsRequest(project_id=PROJECT), metadata=[("authorization", f"Bearer {token}")]
                )
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK


@pytest.fixture
def system(programs: Programs, tmp_path: Path, keystone: KeystoneStub) -> KeystoneSystem:
    return KeystoneSystem(programs, tmp_path, keystone)


async def test_a_token_of_the_project_is_let_in_by_both_apis(system: KeystoneSystem, keystone: KeystoneStub) -> None:
    token = keystone.add("good", PROJECT, "reader")
    assert_success(await system.rest.call("GET", f"{PATH}/count", token=token))
    assert await system.count(token) is grpc.StatusCode.OK
    assert keystone.calls == {"login": 1, "validate": 1}


async def test_who_is_not_known_is_told_where_keystone_is(system: KeystoneSystem, keystone: KeystoneStub) -> None:
    for token, code in ((None, "AutoBackup.0002"), ("unknown", "AutoBackup.0003")):
        answer = await system.rest.call("GET", f"{PATH}/count", token=token)
        assert_failure(answer, 401, code)
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'
    assert await system.count("unknown") is grpc.StatusCode.UNAUTHENTICATED


async def test_a_token_of_no_project_is_403_which_stops_login_loops(
    system: KeystoneSystem, keystone: KeystoneStub
) -> None:
    token = keystone.add("unscoped")
    assert_failure(await system.rest.call("GET", f"{PATH}/count", token=token), 403, "VolumeBackup.0042", "project")
    assert await system.count(token) is grpc.StatusCode.PERMISSION_DENIED


async def test_without_keystone_cached_callers_go_on_others_are_503(
    system: KeystoneSystem, keystone: KeystoneStub
) -> None:
    token = keystone.add("good", PROJECT, "reader")
    assert_success(await system.rest.call("GET", f"{PATH}/count", token=token))
    await keystone.stop()
    assert_success(await system.rest.call("GET", f"{PATH}/count", token=token))
    answer = await system.rest.call("GET", f"{PATH}/count", token="other")
    assert_failure(answer, 503, "VolumeBackup.0041")
    assert answer.headers["Retry-After"] == "1"
    assert await system.count("other") is grpc.StatusCode.UNAVAILABLE


async def test_long_tokens_keep_nobody_else_out(system: KeystoneSystem, keystone: KeystoneStub) -> None:
    for length in (1000, 4096, 8181, 12_000):
        for number in range(6):
            answer = await system.rest.call("GET", f"{PATH}/count", token=f"{number}".ljust(length, "t"))
            assert_failure(answer, 401, "AutoBackup.0003")
    assert_success(await system.rest.call("GET", f"{PATH}/count", token=keystone.add("good", PROJECT, "reader")))


async def test_no_token_or_password_is_in_what_the_programs_print(
    system: KeystoneSystem, keystone: KeystoneStub
) -> None:
    keystone.add("token-that-is-good", PROJECT, "reader")
    for trouble in (None, answering(500, {})):
        keystone.trouble = trouble
        for token in ("token-that-is-good", "token-that-is-not"):
            await system.rest.call("GET", f"{PATH}/count", token=token)
            await system.count(token)
    system.gateway.end()
    system.server.end()
    await asyncio.sleep(0)
    printed = system.gateway.printed + system.server.printed
    assert "CountSharings" in printed
    assert "token-that" not in printed
    assert keystone.password not in printed


async def test_keystone_may_have_a_private_ca_and_another_url(programs: Programs, tmp_path: Path) -> None:
    certificates, context = Certificates(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.issue("keystone", "127.0.0.1"))
    keystone = KeystoneStub()
    await keystone.start(tls=context)
    try:
        public = ("--keystone-public-url", "https://iam.example.com/v3")
        trusting = KeystoneSystem(programs, tmp_path, keystone, "--keystone-ca", str(certificates.ca), *public)
        assert_success(await trusting.rest.call("GET", f"{PATH}/count", token=keystone.add("good", PROJECT, "reader")))
        answer = await trusting.rest.call("GET", f"{PATH}/count", token="unknown")
        assert_failure(answer, 401, "AutoBackup.0003")
        assert answer.headers["WWW-Authenticate"] == 'Keystone uri="https://iam.example.com/v3"'
        other = KeystoneSystem(programs, tmp_path, keystone)
        assert_failure(await other.rest.call("GET", f"{PATH}/count", token="good"), 503, "VolumeBackup.0041")
    finally:
        await keystone.stop()


RULES = {"access_rules": [{"id": "1", "service": "backups", "method": "GET", "path": "/v2/{project_id}/**/count"}]}
SERVICE = ("--keystone-service-type", "backups")


async def test_access_rules_count_over_a_gateways_certificate(
    programs: Programs, tmp_path: Path, keystone: KeystoneStub
) -> None:
    certificates = Certificates(tmp_path)
    server, gateway = certificates.issue("server", "127.0.0.1"), certificates.issue("gateway", "gateway.test")
    tls = ("--tls-certificate", str(server[0]), "--tls-key", str(server[1]), "--client-ca", str(certificates.ca))
    named = ("--upstream-certificate", str(gateway[0]), "--upstream-key", str(gateway[1]))
    to_server = ("--upstream-ca", str(certificates.ca), *named)
    token = keystone.add("limited", PROJECT, "reader", application_credential=RULES)
    for peer, status in (("gateway.test", 200), ("other.test", 403)):
        system = KeystoneSystem(
            programs, tmp_path, keystone, *tls, *SERVICE, "--gateway-peer", peer, to_server=to_server
        )
        assert (await system.rest.call("GET", f"{PATH}/count", token=token)).status == status
        assert (await system.rest.call("GET", f"{PATH}/detail", token=token)).status == 403


async def test_access_rules_and_service_tokens_count_over_a_socket(
    programs: Programs, tmp_path: Path, keystone: KeystoneStub
) -> None:
    token = keystone.add("limited", PROJECT, "reader", application_credential=RULES)
    expired = keystone.add("expired", PROJECT, "reader", seconds=-5.0)
    service = keystone.add("nova", "services", "bot")
    with tempfile.TemporaryDirectory() as folder:
        roles = ("--keystone-service-token-role", "bot")
        system = KeystoneSystem(programs, tmp_path, keystone, *SERVICE, *roles, grpc_address=f"unix:{folder}/grpc")
        assert_success(await system.rest.call("GET", f"{PATH}/count", token=token))
        for header in ("X-Forwarded-Path", "x-forwarded-path", "Grpc-Metadata-X-Forwarded-Path"):
            answer = await system.rest.call("GET", f"{PATH}/detail", token=token, headers={header: f"{PATH}/count"})
            assert_failure(answer, 403, "VolumeBackup.0042", f"allows GET {PATH}/detail of the service backups")
        headers = {"X-Service-Token": service}
        assert_success(await system.rest.call("GET", f"{PATH}/detail", token=token, headers=headers))
        assert_success(await system.rest.call("GET", f"{PATH}/detail", token=expired, headers=headers))
        assert_failure(await system.rest.call("GET", f"{PATH}/detail", token=expired), 401, "AutoBackup.0003")
