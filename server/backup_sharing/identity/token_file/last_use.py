"""The last use of each token, in a file beside the token file, which several servers may share."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from backup_sharing.identity.token_file.writing import locked, replace

SUFFIX: Final = ".last-use"


def last_use_file(tokens: Path) -> Path:
    """Return the file with the last uses of the tokens of a token file."""
    path = tokens.resolve()
    return path.with_name(path.name + SUFFIX)


def read_last_use(tokens: Path) -> Mapping[str, float]:
    """Return the last use of each token by its digest, in seconds since 1970; empty if nothing usable is recorded."""
    try:
        found = json.loads(last_use_file(tokens).read_text(encoding="utf-8"))["last_use"].items()
        return {str(name): float(at) for name, at in found if isinstance(at, int | float)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}  # the record is for people: a damaged one is begun anew


def record_last_use(tokens: Path, used: Collection[str], known: Collection[str], at: float) -> None:
    """Record that tokens were used, and drop the records of tokens that are not in the token file.

    Args:
        tokens: the token file.
        used: digests of the tokens that were used.
        known: digests of all tokens of the file.
        at: when, in seconds since 1970.

    Raises:
        CannotChange, OSError: the record cannot be written.
    """
    path = last_use_file(tokens)
    with locked(path):
        recorded = read_last_use(tokens)
        latest = {name: max(at, recorded.get(name, at)) for name in used}
        kept = {name: when for name, when in {**recorded, **latest}.items() if name in known}
        replace(path, json.dumps({"last_use": kept}, indent=1) + "\n")
