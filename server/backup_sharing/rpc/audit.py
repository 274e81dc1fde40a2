"""What the log says of a request: shortened and printable, however much and whatever was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_LONGEST = 64
"""Characters of a value: as many as the longest id has."""

_MOST_LISTED = 20


def shown(text: str) -> str:
    """Answer a value as it is if it can be an id; others without control characters, shortened and marked so."""
    if len(text) <= _LONGEST and text.isprintable():
        return text
    return ascii(text[:_LONGEST])[1:_LONGEST] + "…"


def recipients(project_ids: Sequence[str]) -> Mapping[str, object]:
    """Answer how many recipients there are, and the first of them."""
    return {"recipients": len(project_ids), "to_project_ids": list(map(shown, project_ids[:_MOST_LISTED]))}
