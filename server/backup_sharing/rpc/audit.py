"""Log values of a call: what became of a change, and values of the request, cut to a maximum length and printable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backup_sharing.rpc.status import REASONS

_LONGEST = 64
"""Maximum characters of a value: the length of the longest id."""

_MOST_LISTED = 20

_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")

About = Callable[[Any], Mapping[str, object]]
"""Returns the objects that a request would change."""


def outcome_of_call(about: About | None, code: str, reason: str, request: object) -> Mapping[str, object]:
    """Return additional log values for a change or a refusal: the objects of the request; None: it is not parsed."""
    if about is None and code not in _REFUSALS:
        return {}
    what = about(request) if about is not None and request is not None else {}
    return {"audit": outcome_of_change(code, reason), **what}


def outcome_of_change(code: str, reason: str) -> str:
    """Return ``change`` for success, ``refused`` if nothing was stored, and ``unknown`` if the change may be stored."""
    if code == "OK":
        return "change"
    known = REASONS.get(reason)
    return "refused" if known and known.nothing_done else "unknown"


def shown(text: str) -> str:
    """Return a possible id unchanged; return any other value without control characters, cut and marked with "…"."""
    if len(text) <= _LONGEST and text.isprintable():
        return text
    return ascii(text[:_LONGEST])[1:_LONGEST] + "…"


def recipients(project_ids: Sequence[str]) -> Mapping[str, object]:
    """Return the number of recipients and the first of them."""
    return {"recipients": len(project_ids), "to_project_ids": list(map(shown, project_ids[:_MOST_LISTED]))}
