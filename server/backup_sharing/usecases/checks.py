"""Checks of a request's values that need nothing but the values; all violations are reported at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from backup_sharing.errors import InvalidArgument, Violation

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")

MOST_VIOLATIONS = 10
"""As many as are reported by name: the status of a call has to fit into 8 KiB of HTTP/2 trailers."""

MOST_SHOWN = 40
"""Bytes of a value that a message repeats, for the same reason."""

ID_LENGTH, TEXT_LENGTH, LONG_TEXT_LENGTH = 64, 255, 4096


def shown(value: str) -> str:
    """Quote a value for a message without control characters, shortened to `MOST_SHOWN` bytes and the quotes."""
    if len(value) <= MOST_SHOWN and _fits(value):
        return repr(value)
    shortened = value[: MOST_SHOWN - 3] + "..."
    while not _fits(shortened):
        shortened = shortened[:-4] + "..."
    return repr(shortened)


def _fits(value: str) -> bool:
    # Escapes and wide characters count as what they take on the wire.
    return len(repr(value).encode()) <= MOST_SHOWN + 2


class Checks:
    """Collects violations while a request is read; `done` raises them together."""

    __slots__ = ("_violations",)

    def __init__(self, found: Iterable[Violation] = ()) -> None:
        """Begin with what was ``found`` while the request was read."""
        self._violations = list(found)

    def violate(self, field: str, description: str, reason: str = "INVALID_REQUEST") -> None:
        """Report one member."""
        self._violations.append(Violation(field, description, reason))

    def uuid(self, field: str, value: str, kind: str) -> str:
        """Answer a required UUID in canonical form; ``kind`` is ``BACKUP`` or ``SHARING``, whose id it is."""
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
        """Answer a required project id."""
        if not _PROJECT_ID.fullmatch(value):
            text = f"The value of {field} is incorrect: {shown(value)} is not 1 to 64 characters of [A-Za-z0-9_-]."
            self.violate(field, text)
        return value

    def text(self, field: str, value: str, length: int = TEXT_LENGTH, *, required: bool = False) -> str:
        """Answer a text of at most ``length`` characters, none of them NUL."""
        if required and not value:
            self.violate(field, f"The value of {field} is missing.")
        elif len(value) > length:
            self.violate(field, f"The value of {field} has {len(value)} characters; at most {length} are expected.")
        elif "\0" in value:
            self.violate(field, f"The value of {field} contains a NUL character.")
        return value

    def number(self, field: str, value: int, least: int) -> int:
        """Answer a number that is at least ``least``."""
        if value < least:
            self.violate(field, f"The value of {field} is incorrect: {value} is less than {least}.")
        return value

    def one_of(self, field: str, value: str, allowed: Sequence[str]) -> str:
        """Answer one of the allowed words."""
        if value not in allowed:
            text = f"The value of {field} is incorrect: {shown(value)} is not one of {', '.join(allowed)}."
            self.violate(field, text)
        return value

    def idempotency_key(self, field: str, value: str | None) -> str | None:
        """Answer a key that is 1 to 255 visible ASCII characters, if there is one."""
        if value is not None and not _VISIBLE_ASCII.fullmatch(value):
            expected = "is not 1 to 255 visible ASCII characters"
            self.violate(field, f"The value of {field} is incorrect: {shown(value)} {expected}.")
        return value

    def recipients(self, field: str, values: Sequence[str], giver: str, most: int) -> Sequence[str]:
        """Answer 1 to ``most`` distinct project ids, none of them the giver's."""
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
        """Return if nothing was violated.

        Raises:
            InvalidArgument: with the first violations by name and the number of the others.
        """
        if not self._violations:
            return
        named, others = self._violations[:MOST_VIOLATIONS], self._violations[MOST_VIOLATIONS:]
        if others:
            named.append(Violation("", f"{len(others)} more values are incorrect."))
        raise InvalidArgument(named)
