"""Application credentials with access rules, and service tokens, of a real Keystone."""

from __future__ import annotations

import time

import grpc
import pytest

from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.rest import assert_failure, assert_success
from tests.system.keystone.conftest import CACHE_SECONDS, Cloud, Pair

pytestmark = pytest.mark.outside


def limited(cloud: Cloud, name: str, *rules: tuple[str, str]) -> str:
    """Return a token of an application credential of gina's with these methods and paths."""
    every = [{"service": "vbs", "method": method, "path": path} for method, path in rules]
    gina = cloud.token("gina", "giver")
    identifier = cloud.keystone.application_credential(gina, f"{name}-{time.time_ns()}", access_rules=every)
    return cloud.keystone.token_of_credential(identifier, "s3cret")


async def test_access_rules_allow_what_they_name_and_no_more(pair_on_socket: Pair) -> None:
    pair = pair_on_socket
    token = limited(pair.cloud, "lists", ("GET", "/v2/*/os-vendor-backup-sharing/detail"))
    assert_success(await pair.rest.call("GET", f"{pair.path}/detail?limit=1", token=token))
    for method, path in (
        ("GET", f"{pair.path}/count"),
        ("DELETE", f"{pair.path}/066b1e37-9305-4057-97e5-2e99b21fc71d"),
    ):
        answer = await pair.rest.call(method, path, token=token)
        assert_failure(answer, 403, "VolumeBackup.0042", f"allows {method} {path} of the service vbs")
    headers = {"X-Forwarded-Path": f"{pair.path}/detail", "X-Forwarded-Method": "GET"}
    answer = await pair.rest.call("GET", f"{pair.path}/count", token=token, headers=headers)
    assert_failure(answer, 403, "VolumeBackup.0042")


async def test_access_rules_count_only_through_a_known_gateway(pair: Pair) -> None:
    token = limited(pair.cloud, "all", ("GET", "/**"))
    answer = await pair.rest.call("GET", f"{pair.path}/count", token=token)
    assert_failure(answer, 403, "VolumeBackup.0042", "only for REST requests through a gateway")


async def test_access_rules_do_not_allow_grpc_calls(pair: Pair) -> None:
    token = limited(pair.cloud, "all", ("GET", "/**"))
    forged = (("x-auth-token", token), ("x-forwarded-method", "GET"), ("x-forwarded-path", "/v2"))
    with grpc.insecure_channel(pair.grpc_address) as channel:
        stub = BackupSharingServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
            stub.CountSharings(CountSharingsRequest(project_id=pair.cloud.giver), metadata=forged)


async def test_a_credential_without_rules_is_a_usual_token(pair: Pair) -> None:
    keystone = pair.cloud.keystone
    identifier = keystone.application_credential(pair.cloud.token("gina", "giver"), f"free-{time.time_ns()}")
    token = keystone.token_of_credential(identifier, "s3cret")
    assert_success(await pair.rest.call("GET", f"{pair.path}/count", token=token))


async def test_a_service_token_makes_an_expired_token_good(pair: Pair) -> None:
    keystone = pair.cloud.keystone
    keystone.stop()
    keystone.start(expiration=2)
    try:
        expired = pair.cloud.token("gina", "giver")
    finally:
        keystone.stop()
        keystone.start()
    time.sleep(2.5)  # noqa: ASYNC251 - no other tasks
    service, other = pair.cloud.token("sam", "services"), pair.cloud.token("rob", "recipient")
    path = f"{pair.path}/count"
    assert_failure(await pair.rest.call("GET", path, token=expired), 401, "AutoBackup.0003")
    assert_success(await pair.rest.call("GET", path, token=expired, headers={"X-Service-Token": service}))
    answer = await pair.rest.call("GET", path, token=expired, headers={"X-Service-Token": other})
    assert_failure(answer, 401, "AutoBackup.0003", "X-Service-Token")
    keystone.revoke(service)
    time.sleep(CACHE_SECONDS + 0.1)  # noqa: ASYNC251 - no other tasks
    answer = await pair.rest.call("GET", path, token=expired, headers={"X-Service-Token": service})
    assert_failure(answer, 401, "AutoBackup.0003", "X-Service-Token")
