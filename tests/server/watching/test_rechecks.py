"""Callers of watches are identified again, shared by token, until they lose their right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from backup_sharing.errors import (
    Failure,
    IdentityUnavailable,
    Overloaded,
    ProjectForbidden,
    RoleMissing,
    TokenInvalid,
    Unavailable,
)
from backup_sharing.identity.interface import Credentials
from backup_sharing.model import Principal
from backup_sharing.rpc.watching.rechecks import CHECK_SECONDS, UNCHECKED_SECONDS, Rechecks
from tests.server.identities import GIVER
from tests.server.watching.fakes import ManualTimers

MEMBER = Principal(GIVER, frozenset({"member"}))
PROXIED = Principal(GIVER, frozenset({"member"}), can_be_identified_again=False)


class Identity:
    """Answers with a principal, or a failure."""

    challenge = "Token"

    def __init__(self) -> None:
        self.answer: Principal | Exception = MEMBER
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    async def identify(self, credentials: Credentials) -> Principal:
        raise AssertionError("a check goes past the cache")

    async def identify_again(self, credentials: Credentials) -> Principal:
        assert not credentials.is_suspect, "the check would wait behind those of attackers"
        self.asked.append(credentials.token)
        self.was_asked.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class End:
    """An `Ending` that only records."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def end(self, failure: Failure) -> None:
        self.failures.append(failure)


class Stage:
    def __init__(self) -> None:
        self.identity, self.timers, self.now = Identity(), ManualTimers(), 0.0
        self.rechecks = Rechecks(self.identity, self.timers, lambda: self.now, max_seconds=300.0)
        self.refused: Failure | None = None
        self._open = ExitStack()

    def open(self, token: str = "a", principal: Principal = MEMBER) -> End:  # noqa: S107 - no secret
        end = End()
        credentials = Credentials({"x-auth-token": token}, is_suspect=True)
        self._open.enter_context(self.rechecks.of(credentials, principal, self._confirm, end))  # type: ignore[arg-type]
        return end

    def close(self) -> None:
        self._open.close()

    async def pass_(self, seconds: float) -> None:
        """Let time pass, and the timers that were set for this time expire."""
        self.now += seconds
        self.identity.was_asked.clear()
        if self.timers.fire(seconds):
            await self.identity.was_asked.wait()
            await asyncio.sleep(0)

    def _confirm(self, _: Principal) -> None:
        if self.refused is not None:
            raise self.refused


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_watches_of_one_token_share_a_check_a_minute(stage: Stage) -> None:
    ends = [stage.open("a") for _ in range(5)] + [stage.open("b")]
    for _ in range(3):
        await stage.pass_(CHECK_SECONDS)
    assert sorted(stage.identity.asked) == ["a"] * 3 + ["b"] * 3
    assert [end.failures for end in ends] == [[]] * 6


@pytest.mark.parametrize("refusal", [TokenInvalid("unknown"), ProjectForbidden("no project")])
async def test_a_lost_token_ends_all_of_its_watches(stage: Stage, refusal: Failure) -> None:
    ends = [stage.open(), stage.open()]
    stage.identity.answer = refusal
    await stage.pass_(CHECK_SECONDS)
    reasons = [[failure.reason for failure in end.failures] for end in ends]
    assert reasons == [["TOKEN_INVALID"]] * 2
    assert ends[0].failures[0] is not ends[1].failures[0]
    assert refusal.message in ends[0].failures[0].message


async def test_a_revoked_token_ends_its_watches_at_once(stage: Stage) -> None:
    revoked, other = stage.open("a"), stage.open("b")
    stage.identity.answer = TokenInvalid("unknown")
    stage.rechecks.check_now(lambda credentials: credentials.token == "a")
    await stage.identity.was_asked.wait()
    await asyncio.sleep(0)
    assert stage.identity.asked == ["a"]
    assert [len(end.failures) for end in (revoked, other)] == [1, 0]


async def test_a_check_at_once_replaces_the_timer(stage: Stage) -> None:
    stage.open("a")
    for _ in range(3):
        stage.rechecks.check_now(lambda _: True)
    await stage.identity.was_asked.wait()
    await asyncio.sleep(0)
    await stage.pass_(CHECK_SECONDS)
    assert stage.identity.asked == ["a", "a"]


async def test_a_lost_role_ends_the_watch_like_a_lost_token(stage: Stage) -> None:
    end = stage.open()
    await stage.pass_(CHECK_SECONDS)
    stage.refused = RoleMissing("The call needs the role 'reader'.")
    await stage.pass_(CHECK_SECONDS)
    assert [failure.reason for failure in end.failures] == ["TOKEN_INVALID"]


@pytest.mark.parametrize("problem", [IdentityUnavailable(), Overloaded("busy"), ZeroDivisionError()])
async def test_a_silent_identity_service_ends_watches_in_five_minutes(stage: Stage, problem: Exception) -> None:
    end = stage.open()
    await stage.pass_(CHECK_SECONDS)
    stage.identity.answer = problem
    while not end.failures:
        assert stage.now - CHECK_SECONDS < 300
        left = UNCHECKED_SECONDS + CHECK_SECONDS - stage.now
        await stage.pass_(min(CHECK_SECONDS, left))
    assert [failure.reason for failure in end.failures] == ["IDENTITY_UNAVAILABLE"]
    assert stage.now - CHECK_SECONDS > 240


async def test_an_identity_service_that_comes_back_in_time_is_enough(stage: Stage) -> None:
    end = stage.open()
    for _ in range(3):
        stage.identity.answer = IdentityUnavailable()
        for _ in range(4):
            await stage.pass_(CHECK_SECONDS)
        stage.identity.answer = MEMBER
        await stage.pass_(UNCHECKED_SECONDS - 4 * CHECK_SECONDS)
    assert end.failures == []


async def test_a_caller_named_by_a_proxy_has_a_limited_time(stage: Stage) -> None:
    end = stage.open(principal=PROXIED)
    assert stage.timers.fire(300.0) == 1
    assert [type(failure) for failure in end.failures] == [Unavailable]
    assert stage.identity.asked == []


@pytest.mark.parametrize("principals", [[MEMBER], [PROXIED], [MEMBER, PROXIED, MEMBER]])
async def test_closed_watches_are_not_checked_any_more(stage: Stage, principals: Sequence[Principal]) -> None:
    for principal in principals:
        stage.open(principal=principal)
    stage.close()
    assert list(stage.timers.waiting) == []
    assert stage.rechecks._checks == {}


async def test_a_watch_closed_during_its_check_cancels_the_check(stage: Stage) -> None:
    stage.open()
    hangs = asyncio.Event()

    async def again(_: Credentials) -> Principal:
        try:
            await asyncio.Event().wait()
        finally:
            hangs.set()
        raise AssertionError

    stage.identity.identify_again = again  # type: ignore[method-assign]
    stage.timers.fire(CHECK_SECONDS)
    await asyncio.sleep(0)
    stage.close()
    await hangs.wait()
    assert list(stage.timers.waiting) == []
