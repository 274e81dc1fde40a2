"""Several providers: the first one that knows the caller decides; authentication fails closed."""

from __future__ import annotations

import pytest

from backup_sharing.errors import Failure, IdentityUnavailable, ProjectForbidden, TokenInvalid, TokenMissing
from backup_sharing.identity.chain import Chain
from backup_sharing.identity.interface import Credentials
from backup_sharing.model import Principal

KNOWN = Principal("project", frozenset({"member"}))
OTHER = Principal("other", frozenset({"admin"}))


class Provider:
    """Always return the same principal, or raise the same failure."""

    def __init__(self, answer: Principal | Failure, challenge: str = "") -> None:
        self.challenge = challenge
        self._answer = answer
        self.asked = 0

    async def identify(self, _: Credentials) -> Principal:
        self.asked += 1
        if isinstance(self._answer, Failure):
            raise self._answer
        return self._answer


MISSING, INVALID = TokenMissing("missing"), TokenInvalid("invalid")


async def test_the_first_that_knows_the_caller_decides() -> None:
    last = Provider(OTHER)
    chain = Chain([Provider(MISSING), Provider(INVALID), Provider(KNOWN), last])
    assert await chain.identify(Credentials({})) == KNOWN
    assert last.asked == 0


@pytest.mark.parametrize(
    ("answers", "raised"),
    [
        ([MISSING, MISSING], TokenMissing),
        ([MISSING, INVALID], TokenInvalid),
        ([INVALID, MISSING], TokenInvalid),
        ([INVALID, INVALID], TokenInvalid),
    ],
)
async def test_nobody_that_none_knows_gets_in(answers: list[Failure], raised: type[Failure]) -> None:
    with pytest.raises(raised):
        await Chain([Provider(answer) for answer in answers]).identify(Credentials({}))


@pytest.mark.parametrize("trouble", [IdentityUnavailable(), ProjectForbidden("no project")])
async def test_a_provider_that_cannot_tell_or_forbids_ends_the_call(trouble: Failure) -> None:
    last = Provider(OTHER)
    with pytest.raises(type(trouble)):
        await Chain([Provider(INVALID), Provider(trouble), last]).identify(Credentials({}))
    assert last.asked == 0


async def test_a_defect_of_a_provider_lets_nobody_in() -> None:
    class Broken(Provider):
        async def identify(self, _: Credentials) -> Principal:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await Chain([Broken(KNOWN), Provider(OTHER)]).identify(Credentials({}))


def test_callers_hear_of_the_service_rather_than_this_machine() -> None:
    chain = Chain([Provider(MISSING, "Token"), Provider(MISSING, "Keystone"), Provider(MISSING)])
    assert chain.challenge == "Keystone"


async def test_a_chain_of_none_says_that_nobody_can_be_known() -> None:
    with pytest.raises(TokenMissing) as refused:
        await Chain([]).identify(Credentials({}))
    assert refused.value.message == "No identity provider is configured."
