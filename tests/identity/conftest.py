"""Identity providers and a stub of Keystone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.interface import GatewayPeers
from backup_sharing.identity.keystone import KeystoneTokens
from backup_sharing.identity.keystone_client import KeystoneClient, ServiceUser
from backup_sharing.identity.roles import RoleRules
from backup_sharing.identity.validation_queues import ValidationQueues, WaitingLimits
from tests.identity.clocks import Clocks
from tests.identity.keystone_stub import KeystoneStub

Provided = Callable[..., KeystoneTokens]


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[KeystoneStub]:
    stub = KeystoneStub()
    await stub.start()
    yield stub
    await stub.stop()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest_asyncio.fixture
async def provided(stub: KeystoneStub, clocks: Clocks) -> AsyncIterator[Provided]:
    """Yield a factory of providers that use the stub, with a service user by default."""
    async with AsyncExitStack() as cleanups:

        def make(
            *,
            password: str | None = "s3cret",  # noqa: S107 - the stub's password
            timeout: float = 30.0,
            seconds: float = 60.0,
            most: int = 100,
            at_once: int = 32,
            waiting: int = 100,
            calls: int = 500,
            failures: int = 3,
            rules: RoleRules | None = None,
            gateways: Sequence[str] = (),
            services: Sequence[str] = ("vbs",),
            public_url: str = "",
        ) -> KeystoneTokens:
            user = None if password is None else ServiceUser(stub.user, password, "Default", "service", "Default")
            breaker = Breaker(failures, 2.0, clocks.monotonic)
            client = KeystoneClient(stub.url, user, breaker, rules or RoleRules(), timeout=timeout, connections=at_once)
            cleanups.push_async_callback(client.close)
            cache = TokenCache(
                client.validate,
                seconds=seconds,
                refused_seconds=5.0,
                most=most,
                queues=ValidationQueues(at_once, waiting),
                waiting=WaitingLimits(2 * calls, calls),
                monotonic=clocks.monotonic,
                clock=clocks.wall,
            )
            cleanups.push_async_callback(cache.close)
            return KeystoneTokens(public_url or stub.url, cache, GatewayPeers(gateways), services)

        yield make
