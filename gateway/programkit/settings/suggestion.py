"""Did you mean …? For flags, keys of a file, and environment variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_LIKENESS: Final = 0.8
"""Least ratio of `difflib` between an unknown name and the name that is suggested."""

_NEARLY_THE_SAME: Final = 0.9
"""The ratio for a variable. Other programs share the prefix, so an unknown variable need not be a mistake."""


def meant(given: str, known: Iterable[str], likeness: float = _LIKENESS) -> str | None:
    """Return the known name that is most like a given one, or None if none is like it."""
    import difflib  # it is needed for mistakes only, and no program waits for it at its start

    return next(iter(difflib.get_close_matches(given, list(known), 1, likeness)), None)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: a suggestion, or an empty text."""
    name = meant(given, known)
    return f"; did you mean {name}?" if name else ""


def misspelt(
    environment: Mapping[str, str], prefix: str, known: Iterable[str], elsewhere: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield each environment variable that is nearly one of ours, with the variable that was probably meant.

    Args:
        environment: all environment variables.
        prefix: prefix of our variables.
        known: our variables.
        elsewhere: variables of other programs with this prefix.
    """
    ours = {name.upper() for name in known}
    unknown = {name for name in environment if name.upper().startswith(prefix.upper())}
    for name in sorted(unknown):
        if name.upper() not in ours and name.upper() not in elsewhere:
            # Compare without the prefix, which makes all names alike.
            of_name = {one.removeprefix(prefix.upper()): one for one in ours}
            if similar := meant(name.upper().removeprefix(prefix.upper()), of_name, _NEARLY_THE_SAME):
                yield name, of_name[similar]
