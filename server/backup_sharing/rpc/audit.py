"""Log values of a request: cut to a maximum length and printable, whatever the request contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_LONGEST = 64
"""Maximum characters of a value: the length of the longest id."""

_MOST_LISTED = 20


def shown(text: str) -> str:
    """Return a possible id unchanged; return any other value without control characters, cut and marked with "…"."""
    if len(text) <= _LONGEST and text.isprintable():
        return text
    return ascii(text[:_LONGEST])[1:_LONGEST] + "…"


def recipients(project_ids: Sequence[str]) -> Mapping[str, object]:
    """Return the number of recipients and the first of them."""
    return {"recipients": len(project_ids), "to_project_ids": list(map(shown, project_ids[:_MOST_LISTED]))}
