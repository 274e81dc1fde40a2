"""The token file of a running server: changes, half-written files, and the record of the last use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from backup_sharing.errors import TokenInvalid
from backup_sharing.identity.interface import Credentials
from backup_sharing.identity.token_file import watching
from backup_sharing.identity.token_file.changing import add_token, revoke_tokens
from backup_sharing.identity.token_file.entries import BadTokenFile, digest
from backup_sharing.identity.token_file.last_use import last_use_file, read_last_use
from backup_sharing.identity.token_file.watching import TokenFile

NOON = 1_700_000_000.0


def of(token: str) -> Credentials:
    return Credentials({"x-auth-token": token})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    for token in ("one", "two"):
        add_token(path, "p", ["member"], token, None, token=token)
    return path


def written(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, content: bytes | None) -> None:
    """Write a file; None removes it."""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


async def is_accepted(tokens: TokenFile, token: str) -> bool:
    try:
        return (await tokens.provider.identify(of(token))).project_id == "p"
    except TokenInvalid:
        return False


async def test_a_changed_file_counts_at_the_next_look(file: Path) -> None:
    tokens = TokenFile(file, lambda: NOON)
    assert not await tokens.look()
    revoke_tokens(file, [digest("one")])
    add_token(file, "p", ["member"], "three", None, token="three")
    assert await tokens.look()
    assert [await is_accepted(tokens, token) for token in ("one", "two", "three")] == [False, True, True]


@pytest.mark.parametrize("cut", [0, 1, 40, -3])
async def test_a_file_that_is_half_written_changes_nothing(file: Path, cut: int) -> None:
    tokens, whole = TokenFile(file, lambda: NOON), written(file)
    write(file, whole[:cut])
    with structlog.testing.capture_logs() as logged:
        assert [await tokens.look() for _ in range(3)] == [False] * 3
    assert [(line["event"], line["log_level"]) for line in logged] == [("tokens", "error")]
    assert str(file) in logged[0]["problem"]
    assert await is_accepted(tokens, "one")
    write(file, whole.replace(digest("one").encode(), digest("three").encode()))
    assert await tokens.look()
    assert [await is_accepted(tokens, token) for token in ("one", "three")] == [False, True]


async def test_a_file_that_is_gone_changes_nothing(file: Path) -> None:
    tokens = TokenFile(file, lambda: NOON)
    write(file, None)
    assert not await tokens.look()
    with pytest.raises(BadTokenFile, match="No such file"):
        await tokens.reload()
    assert await is_accepted(tokens, "one")


async def test_a_reload_says_how_many_tokens_count(file: Path) -> None:
    tokens = TokenFile(file, lambda: NOON)
    add_token(file, "p", ["member"], "three", None, token="three")
    assert await tokens.reload() == f"3 in {file}"
    assert not await tokens.look()


async def test_who_lost_rights_is_told_and_nobody_else(file: Path) -> None:
    told: list[Callable[[Credentials], bool]] = []
    tokens = TokenFile(file, lambda: NOON)
    tokens.start(told.append)
    add_token(file, "p", ["reader"], "one", None, token="one")
    revoke_tokens(file, [digest("two")])
    add_token(file, "p", ["member"], "three", None, token="three")
    await tokens.look()
    (concerns,) = told
    assert [concerns(of(token)) for token in ("one", "two", "three", "")] == [True, True, False, False]
    await tokens.close()


async def test_only_accepted_tokens_are_recorded_as_used(file: Path) -> None:
    tokens = TokenFile(file, lambda: NOON)
    for token in ("one", "one", "wrong"):
        await is_accepted(tokens, token)
    await tokens.record()
    assert read_last_use(file) == {digest("one"): NOON}


async def test_the_last_use_is_recorded_at_the_end(file: Path) -> None:
    tokens = TokenFile(file, lambda: NOON)
    tokens.start(lambda _: None)
    await is_accepted(tokens, "two")
    await tokens.close()
    assert read_last_use(file) == {digest("two"): NOON}


async def test_without_a_use_nothing_is_written(file: Path) -> None:
    await TokenFile(file, lambda: NOON).record()
    assert not last_use_file(file).exists()


async def test_a_read_only_folder_is_logged_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(watching, "record_last_use", refuse)
    tokens = TokenFile(file, lambda: NOON)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert await is_accepted(tokens, "one")
            await tokens.record()
    assert [line["problem"] for line in logged] == ["last use is not recorded: Read-only file system"]
