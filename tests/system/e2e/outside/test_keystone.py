"""Server that validates tokens with Keystone, over REST and gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.identity.keystone_stub import KeystoneStub, answering
from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest, assert_failure, assert_success

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"
PATH = f"/v2/{PROJECT}/os-vendor-backup-sharing"


@pytest_asyncio.fixture
async def keystone() -> AsyncIterator[KeystoneStub]:
    stub = KeystoneStub()
    await stub.start()
    yield stub
    await stub.stop()


class Doors:
    """Server that accepts only Keystone tokens, with its gateway."""

    def __init__(self, programs: Programs, folder: Path, keystone: KeystoneStub) -> None:
        password = folder / "password"
        password.write_text(f"{keystone.password}\n")
        self.grpc_address = free_address()
        self.server = programs.start(
            "server",
            *("--grpc-listen", self.grpc_address, "--database", str(folder / "sharings.db"), "--stop-on-stdin-close"),
            *("--keystone-url", keystone.url, "--keystone-user", keystone.user, "--keystone-project", "service"),
            *("--keystone-password-file", str(password), "--token-cache-seconds", "600"),
        )
        self.server.wait_for('"event":"serving"')
        self.rest = Rest(free_address())
        self.gateway = programs.gateway(self.rest.address, self.grpc_address)

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
def doors(programs: Programs, tmp_path: Path, keystone: KeystoneStub) -> Doors:
    return Doors(programs, tmp_path, keystone)


async def test_a_token_of_the_project_is_let_in_by_both_doors(doors: Doors, keystone: KeystoneStub) -> None:
    token = keystone.add("good", PROJECT, "reader")
    assert_success(await doors.rest.call("GET", f"{PATH}/count", token=token))
    assert await doors.count(token) is grpc.StatusCode.OK
    assert keystone.calls == {"login": 1, "validate": 1}


async def test_who_is_not_known_is_told_where_keystone_is(doors: Doors, keystone: KeystoneStub) -> None:
    for token, code in ((None, "AutoBackup.0002"), ("unknown", "AutoBackup.0003")):
        answer = await doors.rest.call("GET", f"{PATH}/count", token=token)
        assert_failure(answer, 401, code)
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'
    assert await doors.count("unknown") is grpc.StatusCode.UNAUTHENTICATED


async def test_a_token_of_no_project_is_403_which_stops_login_loops(doors: Doors, keystone: KeystoneStub) -> None:
    token = keystone.add("unscoped")
    assert_failure(await doors.rest.call("GET", f"{PATH}/count", token=token), 403, "VolumeBackup.0042", "project")
    assert await doors.count(token) is grpc.StatusCode.PERMISSION_DENIED


async def test_without_keystone_cached_callers_go_on_others_are_503(doors: Doors, keystone: KeystoneStub) -> None:
    token = keystone.add("good", PROJECT, "reader")
    assert_success(await doors.rest.call("GET", f"{PATH}/count", token=token))
    await keystone.stop()
    assert_success(await doors.rest.call("GET", f"{PATH}/count", token=token))
    answer = await doors.rest.call("GET", f"{PATH}/count", token="other")
    assert_failure(answer, 503, "VolumeBackup.0041")
    assert answer.headers["Retry-After"] == "1"
    assert await doors.count("other") is grpc.StatusCode.UNAVAILABLE


async def test_long_tokens_keep_nobody_else_out(doors: Doors, keystone: KeystoneStub) -> None:
    for length in (1000, 4096, 8181, 12_000):
        for number in range(6):
            answer = await doors.rest.call("GET", f"{PATH}/count", token=f"{number}".ljust(length, "t"))
            assert_failure(answer, 401, "AutoBackup.0003")
    assert_success(await doors.rest.call("GET", f"{PATH}/count", token=keystone.add("good", PROJECT, "reader")))


async def test_no_token_or_password_is_in_what_the_programs_print(doors: Doors, keystone: KeystoneStub) -> None:
    keystone.add("token-that-is-good", PROJECT, "reader")
    for trouble in (None, answering(500, {})):
        keystone.trouble = trouble
        for token in ("token-that-is-good", "token-that-is-not"):
            await doors.rest.call("GET", f"{PATH}/count", token=token)
            await doors.count(token)
    doors.gateway.end()
    doors.server.end()
    await asyncio.sleep(0)
    printed = doors.gateway.printed + doors.server.printed
    assert "CountSharings" in printed
    assert "token-that" not in printed
    assert keystone.password not in printed
