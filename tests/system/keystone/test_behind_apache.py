"""Real Keystone behind a real Apache, which refuses headers of more than 8190 bytes with 400."""

from __future__ import annotations

import time

import pytest

from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import Verdict
from backup_sharing.identity.keystone_client import KeystoneClient
from backup_sharing.identity.roles import RoleRules
from tests.support.rest import assert_failure, assert_success
from tests.system.keystone.apache import Apache
from tests.system.keystone.conftest import Pair

pytestmark = pytest.mark.outside


@pytest.mark.parametrize("length", [4096, 8181, 16000])
async def test_tokens_that_apache_does_not_take_keep_nobody_out(pair_behind_apache: Pair, length: int) -> None:
    pair = pair_behind_apache
    for number in range(10):
        token = f"{number}".ljust(length, "t")
        assert_failure(await pair.rest.call("GET", f"{pair.path}/count", token=token), 401, "AutoBackup.0003")
    assert_success(await pair.rest.call("GET", f"{pair.path}/count", token=pair.cloud.token("rita", "giver")))


async def test_a_header_that_apache_does_not_take_refuses_the_token(apache: Apache) -> None:
    breaker = Breaker(1, 60.0, time.monotonic)
    client = KeystoneClient(apache.url, None, breaker, RoleRules(), timeout=30.0, connections=4)
    for _ in range(3):
        assert await client.validate("t" * 8181) == Verdict(None)
    assert not breaker.is_open
    await client.close()
