"""User workflows with tokens of a real Keystone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from tests.support.programs import PATIENCE
from tests.support.rest import assert_failure, assert_success
from tests.system.keystone.conftest import CACHE_SECONDS, Pair

pytestmark = pytest.mark.outside


async def test_openstacksdk_shares_and_the_recipient_sees_it(pair: Pair) -> None:
    cloud, backup_id = pair.cloud, pair.put_backup()
    client = Path(__file__).with_name("sdk_client.py")
    command = (str(cloud.keystone.python), str(client), f"{cloud.keystone.url}/v3", "gina", "gina", "giver", backup_id)
    done = subprocess.run((*command, cloud.recipient), check=False, capture_output=True)  # noqa: ASYNC221 - no other tasks
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    (shared,) = said["shared"]["shared"]
    assert said["endpoint"].endswith(f"/v2/{cloud.giver}")
    assert shared["id"] in [entry["id"] for entry in said["listed"]["shared"]]
    received = f"/v2/{cloud.recipient}/os-vendor-backup-sharing/detail?share_to_me=true&backup_id={backup_id}"
    robs = cloud.token("rob", "recipient")
    assert [entry["id"] for entry in (await pair.rest.call("GET", received, token=robs)).json["shared"]] == [
        shared["id"]
    ]
    ginas = cloud.token("gina", "giver")
    assert (await pair.rest.call("DELETE", f"{pair.path}/{shared['id']}", token=ginas)).status == 200
    assert (await pair.rest.call("GET", received, token=robs)).json["shared"] == []


async def test_roles_and_projects_count(pair: Pair) -> None:
    cloud, backup_id = pair.cloud, pair.put_backup()
    body = {"shared": {"backup_id": backup_id, "to_project_ids": [cloud.recipient]}}
    ritas, robs = cloud.token("rita", "giver"), cloud.token("rob", "recipient")
    assert_success(await pair.rest.call("GET", f"{pair.path}/count", token=ritas))
    assert_failure(await pair.rest.call("POST", pair.path, token=ritas, body=body), 403, "VolumeBackup.0042")
    assert_failure(await pair.rest.call("POST", pair.path, token=robs, body=body), 403, "VolumeBackup.0042")


async def test_the_role_service_of_another_project_does_not_count(pair: Pair) -> None:
    with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
        pair.put_backup("steve", "recipient")


@pytest.mark.parametrize("length", [255, 1000, 4096, 4097, 8181, 16000])
async def test_made_up_tokens_of_any_length_keep_nobody_else_out(pair: Pair, length: int) -> None:
    for number in range(10):
        token = f"gAAAAA{number}".ljust(length, "A")
        assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=token), 401, "AutoBackup.0003")
    assert_success(await pair.rest.call("GET", f"{pair.path}/count", token=pair.cloud.token("rita", "giver")))


async def test_tokens_of_no_project_are_403(pair: Pair) -> None:
    keystone = pair.cloud.keystone
    for scope in ("unscoped", {"domain": {"id": "default"}}):
        token = keystone.token("gina", "gina", scope)
        assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=token), 403, "VolumeBackup.0042")


async def test_a_token_that_nobody_made_or_that_was_revoked_is_401(pair: Pair) -> None:
    keystone, token = pair.cloud.keystone, pair.cloud.token("gina", "giver")
    assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=token[:-4]), 401, "AutoBackup.0003")
    assert_success(await pair.rest.call("GET", f"{pair.path}/count", token=token))
    keystone.revoke(token)
    time.sleep(CACHE_SECONDS + 0.1)  # noqa: ASYNC251 - no other tasks
    answer = await pair.rest.call("GET", f"{pair.path}/count", token=token)
    assert_failure(answer, 401, "AutoBackup.0003")
    assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'


async def test_a_token_that_expires_is_401_from_then_on(pair: Pair) -> None:
    keystone = pair.cloud.keystone
    try:
        for lifetime in (4, 16, 64):  # on a slow machine a token can expire before its first use
            keystone.stop()
            keystone.start(expiration=lifetime)
            token = pair.cloud.token("gina", "giver")
            answer = await pair.rest.call("GET", f"{pair.path}/count", token=token)
            if answer.status != 401:
                break
        assert_success(answer)
        time.sleep(lifetime + 0.5)  # noqa: ASYNC251 - no other tasks
        assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=token), 401, "AutoBackup.0003")
    finally:
        keystone.stop()
        keystone.start()


async def test_a_keystone_that_stops_and_comes_back(pair: Pair) -> None:
    cloud = pair.cloud
    known, new = cloud.token("gina", "giver"), cloud.token("rita", "giver")
    cloud.keystone.stop()
    try:
        assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=new), 503, "VolumeBackup.0041")
    finally:
        cloud.keystone.start()
    for token in (known, new):
        # After a failure the server calls Keystone again after two seconds; this Keystone may be back sooner.
        until = time.monotonic() + PATIENCE
        answer = await pair.rest.call("GET", f"{pair.path}/count", token=token)
        while answer.status == 503 and time.monotonic() < until:
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            answer = await pair.rest.call("GET", f"{pair.path}/count", token=token)
        assert_success(answer)
