"""Strict parsing of one backup from a JSON line: the documented keys and the owner's ``project_id``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from backupsharing.v2.backup_pb2 import Backup

LONGEST_LINE = 1 << 20
"""Maximum bytes of a line."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z?")
_INT32 = 2**31


def parse_line(line: bytes) -> Backup:
    """Parse one backup.

    Raises:
        ValueError: the line is not a JSON object with the expected keys; the message names the key and the expectation.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} bytes")
    backup = Backup()
    for name, value in _members(line).items():
        field = Backup.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise ValueError(f"there is no key {json.dumps(name)}; expected are {', '.join(_KEYS)}")
        if value is not None:
            _READERS[_kind(name)](backup, name, value)
    return backup


_KEYS = tuple(field.name for field in Backup.DESCRIPTOR.fields)


def _members(line: bytes) -> Mapping[str, Any]:
    try:
        members = json.loads(
            line.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_number, parse_int=_whole
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1} is {line[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(members, dict):
        raise ValueError("not a JSON object")
    return members


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is given twice")
    return members


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _kind(name: str) -> str:
    field = Backup.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None:
        return "time"
    return {field.TYPE_STRING: "text", field.TYPE_BOOL: "switch"}.get(field.type, "number")


def _text(backup: Backup, name: str, value: object) -> None:
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise _unexpected(name, value, "a text")
    setattr(backup, name, value)


def _switch(backup: Backup, name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _unexpected(name, value, "true or false")
    setattr(backup, name, value)


def _number(backup: Backup, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT32 <= value < _INT32:
        raise _unexpected(name, value, "a whole number of at most 32 bits")
    setattr(backup, name, value)


def _time(backup: Backup, name: str, value: object) -> None:
    # The documented times have no offset and are in UTC.
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise _unexpected(name, value, "a time such as 2017-08-08T04:03:27.000000")
    try:
        at = datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        raise _unexpected(name, value, "a time that exists") from None
    getattr(backup, name).FromDatetime(at)


_READERS: Mapping[str, Callable[[Backup, str, object], None]] = {
    "text": _text,
    "switch": _switch,
    "number": _number,
    "time": _time,
}


def _unexpected(name: str, value: object, expected: str) -> ValueError:
    shown = json.dumps(value)
    return ValueError(f"{name}: {shown if len(shown) <= 40 else shown[:37] + '...'} is not {expected}")
