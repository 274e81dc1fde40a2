"""Validation of a request's values without the store; all violations are reported together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from backup_sharing.errors import InvalidArgument, Violation

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")

MOST_PER_PAGE = 1000
"""Maximum and default number of items per page."""

MOST_VIOLATIONS = 10
"""Maximum violations reported in detail, because a call's status must fit into 8 KiB of HTTP/2 trailers."""

MOST_SHOWN = 40
"""Maximum bytes of a value in a message, for the same reason."""

ID_LENGTH, TEXT_LENGTH, LONG_TEXT_LENGTH = 64, 255, 4096


def shown(value: str) -> str:
    """Quote a value for a message, without control characters and cut to `MOST_SHOWN` bytes plus the quotes."""
    if len(value) <= MOST_SHOWN and _fits(value):
        return repr(value)
    shortened = value[: MOST_SHOWN - 3] + "..."
    while not _fits(shortened):
        shortened = shortened[:-4] + "..."
    return repr(shortened)


def _fits(value: str) -> bool:
    # Escapes and wide characters count with their bytes on the wire.
    return len(repr(value).encode()) <= MOST_SHOWN + 2


class Checks:
    """Collects violations; `done` raises them together."""

    __slots__ = ("_violations",)

    def __init__(self, found: Iterable[Violation] = ()) -> None:
        """Start with the violations ``found`` while reading the request."""
        self._violations = list(found)

    def violate(self, field: str, description: str, reason: str = "INVALID_REQUEST") -> None:
        """Add a violation of one member."""
        self._violations.append(Violation(field, description, reason))

    @property
    def has_violations(self) -> bool:
        """Whether any violation was found so far."""
        return bool(self._violations)

    def add(self, violation: Violation) -> None:
        """Add a violation found elsewhere."""
        self._violations.append(violation)

    def uuid(self, field: str, value: str, kind: str) -> str:
        """Return a required UUID in canonical form; ``kind`` is ``BACKUP`` or ``SHARING``, the object with this id."""
        if _UUID.fullmatch(value):
            return value.lower()
        name = field.rpartition(".")[2]
        if value:
            text = f"The format of parameter {name} in the request is incorrect: {shown(value)} is not a UUID."
            self.violate(field, text, f"{kind}_ID_MALFORMED")
        else:
            reason = "BACKUP_ID_MISSING" if kind == "BACKUP" else f"{kind}_ID_MALFORMED"
            self.violate(field, f"Parameter {name} in the request is empty; a UUID is expected.", reason)
        return ""

    def project_id(self, field: str, value: str) -> str:
        """Check and return a required project id."""
        if not _PROJECT_ID.fullmatch(value):
            text = f"The value of {field} is incorrect: {shown(value)} is not 1 to 64 characters of [A-Za-z0-9_-]."
            self.violate(field, text)
        return value

    def text(self, field: str, value: str, length: int = TEXT_LENGTH, *, required: bool = False) -> str:
        """Check and return a text of at most ``length`` characters without NUL."""
        if required and not value:
            self.violate(field, f"The value of {field} is missing.")
        elif len(value) > length:
            self.violate(field, f"The value of {field} has {len(value)} characters; at most {length} are expected.")
        elif "\0" in value:
            self.violate(field, f"The value of {field} contains a NUL character.")
        return value

    def number(self, field: str, value: int, least: int) -> int:
        """Check and return a number of at least ``least``."""
        if value < least:
            self.violate(field, f"The value of {field} is incorrect: {value} is less than {least}.")
        return value

    def page_size(self, limit: int | None) -> int:
        """Check and return the size of a page: at least 1, at most `MOST_PER_PAGE`; None: not given."""
        return MOST_PER_PAGE if limit is None else min(self.number("limit", limit, 1), MOST_PER_PAGE)

    def one_of(self, field: str, value: str, allowed: Sequence[str]) -> str:
        """Check and return one of the allowed words."""
        if value not in allowed:
            text = f"The value of {field} is incorrect: {shown(value)} is not one of {', '.join(allowed)}."
            self.violate(field, text)
        return value

    def idempotency_key(self, field: str, value: str | None) -> str | None:
        """Check and return an optional key of 1 to 255 visible ASCII characters."""
        if value is not None and not _VISIBLE_ASCII.fullmatch(value):
            expected = "is not 1 to 255 visible ASCII characters"
            self.violate(field, f"The value of {field} is incorrect: {shown(value)} {expected}.")
        return value

    def recipients(self, field: str, values: Sequence[str], giver: str, most: int) -> Sequence[str]:
        """Check and return 1 to ``most`` distinct project ids without the giver's."""
        if not 1 <= len(values) <= most:
            self.violate(field, f"The value of {field} has {len(values)} entries; 1 to {most} are expected.")
            return values
        seen: set[str] = set()
        for index, value in enumerate(values):
            member = f"{field}[{index}]"
            self.project_id(member, value)
            if value in seen:
                self.violate(member, f"The value of {member} is incorrect: {shown(value)} is given more than once.")
            elif value == giver:
                self.violate(member, f"The value of {member} is incorrect: {shown(value)} is the giver itself.")
            seen.add(value)
        return values

    def done(self) -> None:
        """Raise the collected violations, if any.

        Raises:
            InvalidArgument: has the first `MOST_VIOLATIONS` violations and the number of the others.
        """
        if not self._violations:
            return
        named, others = self._violations[:MOST_VIOLATIONS], self._violations[MOST_VIOLATIONS:]
        if others:
            named.append(Violation("", f"{len(others)} more values are incorrect."))
        raise InvalidArgument(named)
