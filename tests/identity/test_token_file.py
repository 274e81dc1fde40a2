"""Changes to the token file: what they keep, and what they refuse."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backup_sharing.identity.token_file import writing
from backup_sharing.identity.token_file.changing import NoSuchToken, add_token, revoke_tokens, rotate_token
from backup_sharing.identity.token_file.entries import BadTokenFile, TokenEntry, digest, read_entries
from backup_sharing.identity.token_file.last_use import last_use_file, read_last_use, record_last_use
from backup_sharing.identity.token_file.writing import CannotChange

NOON = 1_700_000_000.0
PATIENCE = 30.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def add(file: Path, token: str, expires_at: float | None = None) -> str:
    """Add a token that a test knows; return its id."""
    add_token(file, "p", ["member"], "u", expires_at, token=token)
    return digest(token)[:12]


def entry(file: Path, token: str) -> TokenEntry:
    """Return the entry of a token."""
    (found,) = [entry for entry in read_entries(file) if entry.sha256 == digest(token)]
    return found


def tokens(file: Path) -> set[str]:
    return {entry.sha256 for entry in read_entries(file)}


@pytest.mark.parametrize("wrong", ["nix", "", "*", digest("other")[:12], digest("one")[:11], digest("one")[:12] + "x"])
def test_an_unknown_id_revokes_nothing(file: Path, wrong: str) -> None:
    known = add(file, "one")
    before = file.read_bytes()
    with pytest.raises(NoSuchToken, match="there is no token with the id"):
        revoke_tokens(file, [known, wrong])
    assert file.read_bytes() == before


def test_an_id_of_several_tokens_needs_more_digits(file: Path) -> None:
    digests = ["a" * 12 + digit * 52 for digit in "01"]
    file.write_text(json.dumps({"tokens": [{"sha256": hashed, "roles": ["member"]} for hashed in digests]}))
    with pytest.raises(NoSuchToken, match="several tokens"):
        revoke_tokens(file, ["a" * 12])
    revoke_tokens(file, ["a" * 12 + "0"])
    assert tokens(file) == {digests[1]}


def test_revoked_tokens_are_gone_and_others_stay(file: Path) -> None:
    ids = [add(file, token) for token in ("one", "two", "three")]
    gone = revoke_tokens(file, [ids[0].upper(), ids[2]])
    assert [entry.id for entry in gone] == [ids[0], ids[2]]
    assert tokens(file) == {digest("two")}


def test_a_rotated_token_ends_after_the_overlap(file: Path) -> None:
    known = add(file, "one")
    new, old = rotate_token(file, known, now=NOON, overlap=60, lifetime=None)
    assert old.expires_at == entry(file, "one").expires_at == NOON + 60
    made = entry(file, new)
    assert (made.principal, made.expires_at, made.created_at) == (old.principal, None, NOON)


def test_a_rotation_never_prolongs_the_old_token(file: Path) -> None:
    known = add(file, "one", NOON + 5)
    _, old = rotate_token(file, known, now=NOON, overlap=60, lifetime=100)
    assert old.expires_at == NOON + 5


def test_changes_keep_members_of_later_versions(file: Path) -> None:
    written = {"sha256": digest("one"), "roles": ["member"], "colour": "blue"}
    file.write_text(json.dumps({"tokens": [written]}))
    add(file, "two")
    assert json.loads(file.read_text())["tokens"][0] == written


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_an_infinite_time_is_refused(file: Path, number: str) -> None:
    add(file, "one", 5.5)
    file.write_text(file.read_text().replace("5.5", number))
    with pytest.raises(BadTokenFile, match=r"tokens\.json"):
        read_entries(file)


def test_json_that_is_too_deep_is_no_token_file(file: Path) -> None:
    file.write_text("[" * 200_000)
    with pytest.raises(BadTokenFile, match=r"tokens\.json"):
        read_entries(file)


def test_writers_at_once_lose_nothing(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: add_token(file, "p", ["member"], "u", None), range(24)))
    assert tokens(file) == set(map(digest, made))


def test_a_writer_waits_for_the_other(file: Path) -> None:
    folder = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    writer = threading.Thread(target=add, args=(file, "one"))
    writer.start()
    assert not file.exists()
    os.close(folder)
    writer.join(PATIENCE)
    assert tokens(file) == {digest("one")}


def test_a_writer_does_not_wait_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PATIENCE", 0.0)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(CannotChange, match=r"tokens\.json: another process"):
            add(file, "one")
    finally:
        os.close(folder)
    assert not file.exists()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o440])
def test_the_mode_of_a_file_stays(file: Path, mode: int) -> None:
    add(file, "one")
    file.chmod(mode)
    add(file, "two")
    assert file.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_of_a_file_stays(file: Path) -> None:
    add(file, "one")
    os.chown(file, 12345, 54321)
    add(file, "two")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


def test_an_owner_that_cannot_be_kept_refuses_the_change(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    add(file, "one")
    before, mine = file.read_bytes(), os.fstat
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fstat", lambda handle: os.stat_result([*mine(handle)[:4], 99, 99, *mine(handle)[6:]]))
    with pytest.raises(CannotChange, match="run this as its owner"):
        add(file, "two")
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    add(file, "one")
    link.symlink_to(file)
    add(link, "two")
    assert link.is_symlink()
    assert tokens(file) == {digest("one"), digest("two")}


def test_the_last_use_of_several_servers_is_the_latest(file: Path) -> None:
    record_last_use(file, ["a", "b"], ["a", "b", "c"], 10.0)
    record_last_use(file, ["a"], ["a", "b", "c"], 20.0)
    record_last_use(file, ["b", "c"], ["a", "b", "c"], 5.0)
    assert read_last_use(file) == {"a": 20.0, "b": 10.0, "c": 5.0}


def test_the_last_use_of_a_revoked_token_is_dropped(file: Path) -> None:
    record_last_use(file, ["a", "b"], ["a", "b"], 10.0)
    record_last_use(file, ["b"], ["b"], 20.0)
    assert read_last_use(file) == {"b": 20.0}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"last_use": 5}', '{"last_use": {"a": "b"}}', "[" * 200_000, "\0"])
def test_a_damaged_record_is_begun_anew(file: Path, text: str) -> None:
    last_use_file(file).write_text(text)
    assert read_last_use(file) == {}
    record_last_use(file, ["a"], ["a"], 10.0)
    assert read_last_use(file) == {"a": 10.0}
