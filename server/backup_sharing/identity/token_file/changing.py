"""Changes to the token file: add, revoke and rotate tokens."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backup_sharing.identity.token_file.entries import TokenEntry, digest, entry_of, read_raw
from backup_sharing.identity.token_file.writing import locked, replace


class NoSuchToken(Exception):
    """The file has no token with this id, or several."""


def add_token(
    path: Path,
    project_id: str,
    roles: Iterable[str],
    user_id: str,
    expires_at: float | None,
    token: str | None = None,
    *,
    created_at: float | None = None,
    description: str = "",
) -> str:
    """Add a token to a file, which is created if missing; return the token, which is stored nowhere else.

    Args:
        path: the token file; replaced atomically, so that a reader sees the old or the new file.
        project_id: the token's project; empty for a service.
        roles: roles of the holder.
        user_id: name of the holder in logs.
        expires_at: expiry in seconds since 1970; None: never.
        token: a given token, whose existing entry is replaced; None: generate a token.
        created_at: the time now, in seconds since 1970; None: not recorded.
        description: a text for the operator.

    Raises:
        BadTokenFile: the file exists and cannot be read, or an entry is invalid.
        CannotChange, OSError: the file cannot be changed.
    """
    token = token or secrets.token_urlsafe(32)
    entry = {
        "sha256": digest(token),
        "project_id": project_id,
        "roles": sorted(roles),
        "user_id": user_id,
        "expires_at": expires_at,
        "created_at": created_at,
        "description": description,
    }
    with _changing(path) as raws:
        raws[:] = [raw for raw in raws if str(raw["sha256"]).lower() != entry["sha256"]]
        raws.append(entry)
    return token


def revoke_tokens(path: Path, ids: Sequence[str]) -> list[TokenEntry]:
    """Remove tokens from a file, all or none; return their entries.

    Args:
        path: the token file.
        ids: ids of the tokens, or longer beginnings of their digests.

    Raises:
        NoSuchToken: an id names no token, or several; nothing is removed.
        BadTokenFile: the file cannot be read, or an entry is invalid.
        CannotChange, OSError: the file cannot be changed.
    """
    with _changing(path) as raws:
        entries = [entry_of(path, index, raw) for index, raw in enumerate(raws)]
        gone = [entries[_place(entries, name)] for name in ids]
        raws[:] = [raw for raw, entry in zip(raws, entries, strict=True) if entry not in gone]
    return gone


def rotate_token(path: Path, id: str, *, now: float, overlap: float, lifetime: float | None) -> tuple[str, TokenEntry]:
    """Add a token with the holder and the description of an existing one, which ends after ``overlap``.

    Args:
        path: the token file.
        id: id of the existing token.
        now: the time now, in seconds since 1970.
        overlap: seconds for which the existing token is still accepted; never longer than before.
        lifetime: seconds for which the new token is accepted; None: never ends.

    Returns:
        The new token, and the entry of the existing one as it is now.

    Raises:
        NoSuchToken: the id names no token, or several.
        BadTokenFile: the file cannot be read, or an entry is invalid.
        CannotChange, OSError: the file cannot be changed.
    """
    token = secrets.token_urlsafe(32)
    with _changing(path) as raws:
        entries = [entry_of(path, index, raw) for index, raw in enumerate(raws)]
        place = _place(entries, id)
        old, ends = raws[place], now + overlap
        if old.get("expires_at") is None or old["expires_at"] > ends:
            old["expires_at"] = ends
        expires_at = None if lifetime is None else now + lifetime
        raws.append({**old, "sha256": digest(token), "created_at": now, "expires_at": expires_at})
        return token, entry_of(path, place, old)


def find_token(path: Path, entries: Sequence[TokenEntry], id: str) -> TokenEntry:
    """Return the entry with an id.

    Raises:
        NoSuchToken: the id names no token, or several.
    """
    try:
        return entries[_place(entries, id)]
    except NoSuchToken as error:
        raise NoSuchToken(f"{path}: {error}") from None


def _place(entries: Sequence[TokenEntry], id: str) -> int:
    begin = id.lower()
    found = [place for place, entry in enumerate(entries) if entry.id == begin[: len(entry.id)]]
    found = [place for place in found if entries[place].sha256.startswith(begin)]
    if not found:
        raise NoSuchToken(f"there is no token with the id {id!r}; 'backup-sharing token list' shows the ids")
    if len(found) > 1:
        raise NoSuchToken(f"several tokens have the id {id!r}; give more digits of sha256, as the file has them")
    return found[0]


@contextmanager
def _changing(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the entries of a file, to change in place; write them at the end of the context, unless it fails."""
    path = path.resolve()  # a link to the file stays
    with locked(path):
        raws = read_raw(path) if path.exists() else []
        for index, raw in enumerate(raws):
            entry_of(path, index, raw)
        yield raws
        replace(path, json.dumps({"tokens": raws}, indent=1) + "\n")
