"""Tokens from a file: refused tokens, refused files, and the content of the file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import LONGEST_TOKEN, Credentials
from backup_sharing.identity.static import BadTokenFile, StaticTokens, add_token, digest
from backup_sharing.model import Principal

NOON = 1_700_000_000.0
GOOD = {"sha256": digest("token"), "project_id": "p", "roles": ["member"], "user_id": "u", "expires_at": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def written(file: Path, *entries: object) -> Path:
    file.write_text(json.dumps({"tokens": entries}))
    return file


def known(file: Path, now: float = NOON) -> StaticTokens:
    return StaticTokens.load(file, lambda: now)


async def identified(tokens: StaticTokens, metadata: Mapping[str, str]) -> Principal:
    return await tokens.identify(Credentials(metadata))


@pytest.mark.parametrize(
    "metadata",
    [{}, {"x-auth-token": ""}, {"authorization": "Basic dTpw"}, {"authorization": "Bearer"}, {"authorization": ""}],
)
async def test_a_call_without_a_token_is_refused_as_such(file: Path, metadata: Mapping[str, str]) -> None:
    with pytest.raises(TokenMissing):
        await identified(known(written(file, GOOD)), metadata)


@pytest.mark.parametrize("token", ["unknown", "TOKEN", "token ", digest("token"), "ü", "t" * (LONGEST_TOKEN + 1)])
async def test_an_unknown_token_is_refused(file: Path, token: str) -> None:
    with pytest.raises(TokenInvalid):
        await identified(known(written(file, GOOD)), {"x-auth-token": token})


async def test_a_token_beyond_the_longest_is_refused_also_if_listed(file: Path) -> None:
    token = "t" * (LONGEST_TOKEN + 1)
    with pytest.raises(TokenInvalid):
        await identified(known(written(file, GOOD | {"sha256": digest(token)})), {"x-auth-token": token})


async def test_a_token_is_refused_from_the_second_it_expires(file: Path) -> None:
    tokens = known(written(file, GOOD | {"expires_at": NOON}))
    with pytest.raises(TokenInvalid):
        await identified(tokens, {"x-auth-token": "token"})


async def test_an_expired_token_looks_like_an_unknown_one(file: Path) -> None:
    tokens = known(written(file, GOOD | {"expires_at": NOON - 1}))
    with pytest.raises(TokenInvalid) as expired:
        await identified(tokens, {"x-auth-token": "token"})
    with pytest.raises(TokenInvalid) as unknown:
        await identified(tokens, {"x-auth-token": "unknown"})
    assert expired.value.message == unknown.value.message


async def test_a_token_is_good_until_it_expires(file: Path) -> None:
    tokens = known(written(file, GOOD | {"expires_at": NOON + 0.001}))
    assert await identified(tokens, {"x-auth-token": "token"}) == Principal("p", frozenset({"member"}), "u")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_bearer_token_is_as_good(file: Path, scheme: str) -> None:
    principal = await identified(known(written(file, GOOD)), {"authorization": f"{scheme} token"})
    assert principal.user_id == "u"


async def test_the_header_of_the_published_api_wins_over_bearer(file: Path) -> None:
    with pytest.raises(TokenInvalid):
        await identified(known(written(file, GOOD)), {"x-auth-token": "unknown", "authorization": "Bearer token"})


async def test_a_refusal_does_not_repeat_the_token(file: Path) -> None:
    with pytest.raises(TokenInvalid) as refused:
        await identified(known(written(file, GOOD)), {"x-auth-token": "sesame"})
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": None},
        {"sha256": 5},
        {"sha256": "abc"},
        {"sha256": "g" * 64},
        {"project_id": 5},
        {"roles": "member"},
        {"roles": [1]},
        {"roles": None},
        {"user_id": None},
        {"expires_at": "tomorrow"},
        {"expires_at": True},
    ],
)
def test_a_bad_entry_is_named_by_its_place(file: Path, wrong: Mapping[str, object]) -> None:
    with pytest.raises(BadTokenFile, match=r"tokens\.json: tokens\[1\]: "):
        known(written(file, GOOD, {**GOOD, **wrong}))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tokens": {}}', '{"tokens": [1]}', "\x80", "null"])
def test_a_file_that_is_no_token_file_is_named(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadTokenFile, match=r"tokens\.json"):
        known(file)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_an_expiry_that_is_no_number_makes_no_token_eternal(file: Path, number: str) -> None:
    file.write_text(json.dumps({"tokens": [GOOD]}).replace("null", number))
    with pytest.raises(BadTokenFile):
        known(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(BadTokenFile, match=r"tokens\.json: cannot be read: No such file"):
        known(file)


def test_a_folder_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(BadTokenFile, match="cannot be read"):
        known(tmp_path)


async def test_an_entry_in_upper_case_is_the_same_digest(file: Path) -> None:
    tokens = known(written(file, GOOD | {"sha256": digest("token").upper()}))
    assert (await identified(tokens, {"x-auth-token": "token"})).user_id == "u"


async def test_a_token_that_was_added_is_known(file: Path) -> None:
    token = add_token(file, "p", ["reader", "member"], "u", None)
    assert await identified(known(file), {"x-auth-token": token}) == Principal(
        "p", frozenset({"member", "reader"}), "u"
    )


async def test_adding_a_token_keeps_the_others(file: Path) -> None:
    first = add_token(file, "p", ["member"], "first", None)
    add_token(file, "p", ["member"], "second", None)
    assert (await identified(known(file), {"x-auth-token": first})).user_id == "first"


async def test_adding_a_known_token_again_replaces_its_entry(file: Path) -> None:
    add_token(file, "p", ["member"], "before", None, token="demo")
    add_token(file, "p", ["reader"], "after", None, token="demo")
    assert (await identified(known(file), {"x-auth-token": "demo"})).user_id == "after"


def test_a_known_token_has_one_entry(file: Path) -> None:
    for _ in range(2):
        add_token(file, "p", ["member"], "u", None, token="demo")
    assert len(json.loads(file.read_text())["tokens"]) == 1


def test_the_file_keeps_no_token(file: Path) -> None:
    token = add_token(file, "p", ["member"], "u", None)
    assert token not in file.read_text()


def test_two_tokens_are_never_the_same(file: Path) -> None:
    assert add_token(file, "p", ["member"], "u", None) != add_token(file, "p", ["member"], "u", None)


def test_only_its_owner_can_read_the_file(file: Path) -> None:
    add_token(file, "p", ["member"], "u", None)
    assert file.stat().st_mode & 0o777 == 0o600


def test_adding_closes_a_file_that_others_could_read(file: Path) -> None:
    written(file, GOOD).chmod(0o644)
    add_token(file, "p", ["member"], "u", None)
    assert file.stat().st_mode & 0o777 == 0o600


def test_adding_to_a_damaged_file_leaves_it_as_it_is(file: Path) -> None:
    file.write_text("{")
    with pytest.raises(BadTokenFile):
        add_token(file, "p", ["member"], "u", None)
    assert file.read_text() == "{"


def test_adding_leaves_no_other_file_behind(file: Path) -> None:
    add_token(file, "p", ["member"], "u", None)
    assert list(file.parent.iterdir()) == [file]


async def test_an_entry_of_nobody_and_no_project_is_good(file: Path) -> None:
    tokens = known(written(file, {"sha256": digest("token"), "roles": ["service"]}))
    assert await identified(tokens, {"x-auth-token": "token"}) == Principal("", frozenset({"service"}), "")


def test_a_token_file_is_replaced_from_its_own_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A temporary file in another folder may be on another disk, and could not replace this file atomically.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    add_token(file, "p", ["member"], "u", None)
    assert list(tmp_path.iterdir()) == [file]
