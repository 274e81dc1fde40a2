"""States of the identity providers for operators, without a request to any of them."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backup_sharing.config import Settings
from backup_sharing.errors import IdentityUnavailable
from backup_sharing.identity.configured import Identity, providers
from backup_sharing.identity.interface import Credentials
from backup_sharing.identity.state import ProviderState
from backup_sharing.identity.static import add_token
from backup_sharing.identity.token_file.watching import TokenFile
from tests.identity.keystone_stub import KeystoneStub, answering

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"


def configured(stub: KeystoneStub, folder: Path, cleanups: AsyncExitStack) -> Identity:
    (folder / "password").write_text(stub.password)
    add_token(folder / "tokens.json", PROJECT, ["member"], "u", None)
    settings = Settings(
        database="unused",
        tokens=folder / "tokens.json",
        keystone_url=stub.url,
        keystone_user=stub.user,
        keystone_project="service",
        keystone_password_file=folder / "password",
    )
    return providers(settings, TokenFile(folder / "tokens.json", time.time), cleanups)


def states(identity: Identity) -> list[ProviderState]:
    return [state() for state in identity.states]


async def fails(identity: Identity, token: str) -> None:
    with pytest.raises(IdentityUnavailable):
        await identity.provider.identify(Credentials({"x-auth-token": token}))


async def test_a_keystone_that_was_not_asked_has_no_problem(stub: KeystoneStub, tmp_path: Path) -> None:
    async with AsyncExitStack() as cleanups:
        identity = configured(stub, tmp_path, cleanups)
        assert states(identity) == [ProviderState("tokens"), ProviderState("keystone")]
    assert not stub.calls


async def test_a_keystone_that_is_down_is_a_problem_until_it_answers(stub: KeystoneStub, tmp_path: Path) -> None:
    stub.add("good", PROJECT, "member")
    async with AsyncExitStack() as cleanups:
        identity = configured(stub, tmp_path, cleanups)
        await identity.provider.identify(Credentials({"x-auth-token": "good"}))
        stub.trouble = answering(503, {})
        await fails(identity, "one")
        tokens, keystone = states(identity)
        assert (tokens.problem, keystone.problem) == ("", "The last request to Keystone failed (status 503).")
        asked = stub.calls.total()
        states(identity)
        assert stub.calls.total() == asked
        stub.trouble = None
        stub.add("other", PROJECT, "member")
        await identity.provider.identify(Credentials({"x-auth-token": "other"}))
        assert states(identity)[1].problem == ""


async def test_a_keystone_without_a_login_says_what_still_works(stub: KeystoneStub, tmp_path: Path) -> None:
    stub.trouble = answering(503, {})
    async with AsyncExitStack() as cleanups:
        identity = configured(stub, tmp_path, cleanups)
        await fails(identity, "one")  # the login of the service user fails, which opens the breaker
        assert "only tokens that were validated lately" in states(identity)[1].problem
        assert stub.password not in str(states(identity))
