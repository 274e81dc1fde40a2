"""The form of the token file.

The file is JSON, ``{"tokens": [{"sha256": HEX, "project_id": TEXT, "roles": [TEXT, …], "user_id": TEXT,
"expires_at": SECONDS or null, "created_at": SECONDS or null, "description": TEXT}]}``. Only ``sha256`` and ``roles``
are required; other members are kept. The file holds only digests: a token has 256 random bits, so an unsalted digest
cannot be inverted.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backup_sharing.model import Principal

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_ID_LENGTH: Final = 12


class BadTokenFile(Exception):
    """The token file cannot be used; the message names the file and the entry."""


def digest(token: str) -> str:
    """Return the digest of a token, as stored in the file."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token of the file. Times are seconds since 1970."""

    sha256: str
    """The digest, in lower case."""
    principal: Principal
    """The holder."""
    expires_at: float | None
    """None: never."""
    created_at: float | None
    """None: unknown, because an earlier version created the token."""
    description: str

    @property
    def id(self) -> str:
        """The first digits of the digest: they name the token, and say nothing about it."""
        return self.sha256[:_ID_LENGTH]

    def has_expired(self, now: float) -> bool:
        """Whether the token is no longer accepted."""
        return self.expires_at is not None and self.expires_at <= now


def read_entries(path: Path) -> list[TokenEntry]:
    """Read a token file.

    Raises:
        BadTokenFile: the file cannot be read, or an entry is invalid.
    """
    return [entry_of(path, index, raw) for index, raw in enumerate(read_raw(path))]


def read_raw(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a token file as they are written, without a check of their members.

    Raises:
        BadTokenFile: the file cannot be read, or is no list of entries.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise BadTokenFile(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadTokenFile(f"{path}: is not JSON: {error}") from error
    except RecursionError as error:
        raise BadTokenFile(f"{path}: is not JSON of a token file: nested too deeply") from error
    tokens = document.get("tokens") if isinstance(document, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(raw, dict) for raw in tokens):
        raise BadTokenFile(f'{path}: expected an object {{"tokens": [{{…}}, …]}}')
    return tokens


def entry_of(path: Path, index: int, raw: Mapping[str, Any]) -> TokenEntry:
    """Check an entry.

    Raises:
        BadTokenFile: a member is missing or invalid.
    """
    hashed, project_id, roles = raw.get("sha256"), raw.get("project_id", ""), raw.get("roles")
    texts = [project_id, raw.get("user_id", ""), raw.get("description", "")]
    expires_at, created_at = raw.get("expires_at"), raw.get("created_at")
    good = (
        isinstance(hashed, str)
        and _SHA256.fullmatch(hashed) is not None
        and all(isinstance(text, str) and text.isprintable() for text in texts)
        and isinstance(roles, list)
        and all(isinstance(role, str) for role in roles)
        and _is_time(expires_at)
        and _is_time(created_at)
    )
    if not good or not isinstance(roles, list):
        raise BadTokenFile(f"{path}: tokens[{index}]: expected sha256, project_id, roles, user_id and expires_at")
    principal = Principal(project_id, frozenset(roles), texts[1])
    return TokenEntry(str(hashed).lower(), principal, expires_at, created_at, texts[2])


def _is_time(value: object) -> bool:
    if value is None:
        return True
    # 1e999 is an infinite number to Python's JSON parser; a token with this expiry would never expire.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(constant: str) -> None:
    # Python's JSON parser accepts NaN; a token with this expiry would never expire.
    raise ValueError(f"{constant} is no number")
