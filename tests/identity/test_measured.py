"""Metrics of Keystone: its requests by outcome, the cache and the breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from backup_sharing.config import Settings
from backup_sharing.errors import IdentityUnavailable, TokenInvalid
from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.configured import providers
from backup_sharing.identity.interface import Credentials, IdentityProvider
from backup_sharing.identity.keystone_client import OUTCOMES
from backup_sharing.metrics.server import ServerMetrics
from tests.identity.keystone_stub import KeystoneStub, Trouble, answering, endless, hanging_up

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"


class Measured:
    """A provider that asks a stub, each token with its own rights, and what is measured of it."""

    def __init__(self, registry: CollectorRegistry, provider: IdentityProvider) -> None:
        self._registry = registry
        self._provider = provider

    async def identify(self, token: str) -> None:
        await self._provider.identify(Credentials({"x-auth-token": token}))

    def value(self, name: str, **labels: str) -> float:
        found = self._registry.get_sample_value(f"backup_sharing_{name}", labels)
        assert found is not None
        return found

    def requests(self) -> dict[str, float]:
        """Return the number of requests for each outcome that occurred."""
        found = {one: self.value("keystone_request_duration_seconds_count", outcome=one) for one in OUTCOMES}
        return {one: number for one, number in found.items() if number}

    def lookups(self) -> tuple[float, float]:
        """Return hits and misses of the cache."""
        name = "identity_cache_lookups_total"
        return self.value(name, result="hit"), self.value(name, result="miss")


@pytest_asyncio.fixture
async def measured(stub: KeystoneStub, tmp_path: Path) -> AsyncIterator[Measured]:
    registry = CollectorRegistry()
    metrics = ServerMetrics(registry, "sqlite", {}, (), ())
    settings = Settings(grpc_listen="127.0.0.1:1", database=str(tmp_path / "s.db"), keystone_url=stub.url)  # type: ignore[arg-type]  # validated
    async with AsyncExitStack() as cleanups:
        yield Measured(registry, providers(settings, None, cleanups, metrics).provider)


async def test_a_known_token_is_a_hit_and_a_new_one_a_miss(measured: Measured, stub: KeystoneStub) -> None:
    token = stub.add("good", PROJECT, "member")
    for _ in range(3):
        await measured.identify(token)
    assert measured.lookups() == (2, 1)
    assert measured.requests() == {"answered": 1}
    tokens = [measured.value("identity_cache_tokens", verdict=verdict) for verdict in ("accepted", "refused")]
    assert tokens == [1, 0]


async def test_a_refused_token_is_an_answer_and_is_kept(measured: Measured, stub: KeystoneStub) -> None:
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            await measured.identify("unknown")
    assert (measured.lookups(), measured.requests()) == ((1, 1), {"answered": 1})
    assert measured.value("identity_cache_tokens", verdict="refused") == 1


async def test_waiting_for_a_validation_is_a_miss(measured: Measured, stub: KeystoneStub) -> None:
    token = stub.add("good", PROJECT, "member")
    await asyncio.gather(*(measured.identify(token) for _ in range(3)))
    assert (measured.lookups(), measured.requests()) == ((0, 3), {"answered": 1})
    assert measured.value("identity_validations_pending") == 0


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [(answering(500, {}), "failed"), (answering(503, {}), "failed"), (answering(418, {}), "answered"),
     (hanging_up, "unanswered"), (endless, "not_understood")],
)  # fmt: skip
async def test_each_outcome_of_a_request_is_told_apart(
    measured: Measured, stub: KeystoneStub, trouble: Trouble, outcome: str
) -> None:
    stub.trouble = trouble
    with pytest.raises(IdentityUnavailable):
        await measured.identify("any")
    assert measured.requests() == {outcome: 1}


def test_the_breaker_is_seen_while_it_is_open() -> None:
    registry = CollectorRegistry()
    breaker = Breaker(1, 0.0, lambda: 0.0)
    ServerMetrics(registry, "sqlite", {}, (), ()).keystone_is_used(cast("TokenCache", None), breaker)
    name = "backup_sharing_keystone_breaker_open"
    for answered, is_open in ((True, 0), (False, 1), (True, 0)):
        breaker.failed()
        assert breaker.takes_trial()
        breaker.tried(answered=answered)
        assert registry.get_sample_value(name) == is_open
