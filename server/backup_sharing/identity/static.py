"""Static tokens: a file of token digests with project, roles and expiry. Meant for a single machine.

The file is JSON, ``{"tokens": [{"sha256": HEX, "project_id": TEXT, "roles": [TEXT, …],
"user_id": TEXT, "expires_at": SECONDS or null}]}``. The file holds only digests: a token
has 256 random bits, so an unsalted digest cannot be inverted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import CHALLENGE, Credentials, is_token
from backup_sharing.model import Principal

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class BadTokenFile(Exception):
    """The token file cannot be used; the message names the file and the entry."""


def digest(token: str) -> str:
    """Return the digest of a token, as stored in the file."""
    return hashlib.sha256(token.encode()).hexdigest()


class StaticTokens:
    """Identifies callers by the tokens of one file, which is read once."""

    challenge = CHALLENGE

    def __init__(self, entries: Mapping[str, tuple[Principal, float | None]], clock: Callable[[], float]) -> None:
        self._entries = entries
        self._clock = clock

    @classmethod
    def load(cls, path: Path, clock: Callable[[], float]) -> Self:
        """Read a token file. ``clock`` returns seconds since 1970.

        Raises:
            BadTokenFile: the file cannot be read, or an entry is invalid.
        """
        return cls(dict(_entry(path, index, raw) for index, raw in enumerate(_read(path))), clock)

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the owner of the token. Lookup is by digest, so its duration reveals nothing about any token."""
        token = credentials.token
        if not token:
            raise TokenMissing("The request carries no token; X-Auth-Token is expected.")
        known = self._entries.get(digest(token)) if is_token(token) else None
        if known is None or (known[1] is not None and known[1] <= self._clock()):
            raise TokenInvalid("The token is unknown or has expired.")
        return known[0]

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the owner of the token, if it has not expired."""
        return await self.identify(credentials)


def add_token(
    path: Path, project_id: str, roles: Iterable[str], user_id: str, expires_at: float | None, token: str | None = None
) -> str:
    """Add a token to a file, which is created if missing; return the token, which is stored nowhere else.

    Args:
        path: the token file; replaced atomically, so that a reader sees the old or the new file.
        project_id: the token's project; empty for a service.
        roles: roles of the holder.
        user_id: name of the holder in logs.
        expires_at: expiry in seconds since 1970; None: never.
        token: a given token, whose existing entry is replaced; None: generate a token.

    Raises:
        BadTokenFile: the file exists and cannot be read, or an entry is invalid.
    """
    token = token or secrets.token_urlsafe(32)
    entry = {
        "sha256": digest(token),
        "project_id": project_id,
        "roles": sorted(roles),
        "user_id": user_id,
        "expires_at": expires_at,
    }
    present = _read(path) if path.exists() else []
    for index, raw in enumerate(present):
        _entry(path, index, raw)
    existing = [raw for raw in present if raw["sha256"] != entry["sha256"]]
    _replace(path, json.dumps({"tokens": [*existing, entry]}, indent=1) + "\n")
    return token


def _replace(path: Path, text: str) -> None:
    # mkstemp creates a file that only its owner can read.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise BadTokenFile(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadTokenFile(f"{path}: is not JSON: {error}") from error
    tokens = document.get("tokens") if isinstance(document, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(raw, dict) for raw in tokens):
        raise BadTokenFile(f'{path}: expected an object {{"tokens": [{{…}}, …]}}')
    return tokens


def _refuse(constant: str) -> None:
    # Python's JSON parser accepts NaN; a token with this expiry would never expire.
    raise ValueError(f"{constant} is no number")


def _entry(path: Path, index: int, raw: Mapping[str, Any]) -> tuple[str, tuple[Principal, float | None]]:
    hashed, project_id, roles = raw.get("sha256"), raw.get("project_id", ""), raw.get("roles")
    user_id, expires_at = raw.get("user_id", ""), raw.get("expires_at")
    good = (
        isinstance(hashed, str)
        and _SHA256.fullmatch(hashed) is not None
        and isinstance(project_id, str)
        and isinstance(user_id, str)
        and f"{project_id}{user_id}".isprintable()
        and isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
        and (expires_at is None or (isinstance(expires_at, int | float) and not isinstance(expires_at, bool)))
    )
    if not good or not isinstance(roles, list):
        raise BadTokenFile(f"{path}: tokens[{index}]: expected sha256, project_id, roles, user_id and expires_at")
    return str(hashed).lower(), (Principal(project_id, frozenset(roles), user_id), expires_at)
