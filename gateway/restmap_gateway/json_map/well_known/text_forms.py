"""Timestamp, Duration and FieldMask: messages that are one string in JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from restmap_gateway.json_map.refusal import unexpected_text

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: UTC throughout, offsets are added by hand
_SECOND: Final = timedelta(seconds=1)
_NANOS: Final = 1_000_000_000
_FIRST_SECOND: Final = -62_135_596_800  # 0001-01-01T00:00:00Z
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
_LONGEST_DURATION: Final = 315_576_000_000

_CLOCK: Final = r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})"
RFC3339: Final = re.compile(_CLOCK + r"(?:\.([0-9]{1,9}))?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))")
_UTC_MICROS: Final = re.compile(_CLOCK + r"(?:\.([0-9]{1,6}))?")
_DURATION: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_CAMEL_PATH: Final = re.compile(r"[a-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*)*|\*")
_SNAKE_PATH: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*(?:\.[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*)*|\*")
_ORIGINAL_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")

_LONGEST_MASK: Final = 8192  # a text of one megabyte would block the event loop for a second

_EXPECTED_RFC3339: Final = "an RFC 3339 time such as 2024-05-06T07:08:09.123Z"
_EXPECTED_UTC_MICROS: Final = "a UTC time without zone such as 2024-05-06T07:08:09.000000"
_EXPECTED_DURATION: Final = "a duration in seconds such as 1.5s"
_EXPECTED_NAMES: Final = "field paths separated by commas, such as user.display_name,photo"
_EXPECTED_MASK: Final = "field paths in lowerCamelCase, separated by commas, such as user.displayName,photo"


@dataclass(frozen=True, slots=True)
class TextForm:
    """The string form of a message type."""

    expected: str
    """Description of a valid string, for the client."""
    read: Callable[[str, Any], None]
    """Fills the message, or raises `Refused`."""
    write: Callable[[Any], str]
    """Returns the string; raises ValueError for a message without one."""


def text_form(full_name: str, *, utc_micros: bool, in_url: bool = False) -> TextForm | None:
    """Return the text form of a message type; None if it has none.

    `utc_micros`: timestamps are UTC text without zone. `in_url`: field masks may also have original field names, as
    clients of other gateways send them; a JSON body has lowerCamelCase names only.
    """
    match full_name:
        case "google.protobuf.Timestamp" if utc_micros:
            return TextForm(_EXPECTED_UTC_MICROS, _read_utc_micros, _write_utc_micros)
        case "google.protobuf.Timestamp":
            return TextForm(_EXPECTED_RFC3339, _read_rfc3339, _write_rfc3339)
        case "google.protobuf.Duration":
            return TextForm(_EXPECTED_DURATION, _read_duration, _write_duration)
        case "google.protobuf.FieldMask" if in_url:
            return TextForm(_EXPECTED_NAMES, _read_mask_of_any_names, _write_mask)
        case "google.protobuf.FieldMask":
            return TextForm(_EXPECTED_MASK, _read_mask, _write_mask)
        case _:
            return None


def _read_rfc3339(text: str, timestamp: Any) -> None:  # noqa: ANN401 - a class made from a descriptor
    match = RFC3339.fullmatch(text)
    if match is None:
        raise unexpected_text(_EXPECTED_RFC3339, text)
    clock, fraction, sign, hours, minutes = match.groups()
    seconds = _seconds(clock, text, _EXPECTED_RFC3339)
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
        if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            raise unexpected_text("a time in the years 0001 to 9999 UTC", text)
    timestamp.seconds = seconds
    timestamp.nanos = _nanos(fraction)


def _read_utc_micros(text: str, timestamp: Any) -> None:  # noqa: ANN401
    match = _UTC_MICROS.fullmatch(text)
    if match is None:
        raise unexpected_text(_EXPECTED_UTC_MICROS, text)
    timestamp.seconds = _seconds(match[1], text, _EXPECTED_UTC_MICROS)
    timestamp.nanos = _nanos(match[2])


def _seconds(clock: str, text: str, expected: str) -> int:
    """Return the seconds since 1970 at `clock` in UTC; month 13, year 0 and leap seconds are invalid."""
    try:
        return (datetime.fromisoformat(clock) - _EPOCH) // _SECOND
    except ValueError as error:
        raise unexpected_text(f"{expected} ({error})", text) from None


def _nanos(fraction: str | None) -> int:
    return int(fraction.ljust(9, "0")) if fraction else 0


def _write_rfc3339(timestamp: Any) -> str:  # noqa: ANN401
    nanos = _checked(timestamp.nanos)
    return f"{_clock(timestamp.seconds)}{_fraction(nanos)}Z"


def _write_utc_micros(timestamp: Any) -> str:  # noqa: ANN401
    return f"{_clock(timestamp.seconds)}.{_checked(timestamp.nanos) // 1000:06d}"


def _checked(nanos: int) -> int:
    if not 0 <= nanos < _NANOS:
        raise ValueError(f"no time in the years 0001 to 9999: a fraction of {nanos} ns")
    return nanos


@lru_cache(maxsize=1024)
def _clock(seconds: int) -> str:
    # Cached: times that are written together are often close together.
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise ValueError(f"no time in the years 0001 to 9999: {seconds} s")
    return (_EPOCH + timedelta(0, seconds)).isoformat()


def _fraction(nanos: int) -> str:
    """Return a dot and three, six or nine digits, as few as hold `nanos`; empty for 0."""
    if nanos == 0:
        return ""
    if nanos % 1_000_000 == 0:
        return f".{nanos // 1_000_000:03d}"
    if nanos % 1_000 == 0:
        return f".{nanos // 1_000:06d}"
    return f".{nanos:09d}"


def _read_duration(text: str, duration: Any) -> None:  # noqa: ANN401
    match = _DURATION.fullmatch(text)
    if match is None:
        raise unexpected_text(_EXPECTED_DURATION, text)
    sign = -1 if match[1] else 1
    seconds, nanos = int(match[2]), _nanos(match[3])
    if seconds * _NANOS + nanos > _LONGEST_DURATION * _NANOS:
        raise unexpected_text(f"a duration of at most {_LONGEST_DURATION}s", text)
    duration.seconds = sign * seconds
    duration.nanos = sign * nanos


def _write_duration(duration: Any) -> str:  # noqa: ANN401
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _LONGEST_DURATION or abs(nanos) >= _NANOS or seconds * nanos < 0:
        raise ValueError(f"no duration: {seconds} s and {nanos} ns")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def _read_mask(text: str, mask: Any) -> None:  # noqa: ANN401
    for path in (paths := _mask_paths(text)):
        if not _CAMEL_PATH.fullmatch(path):
            raise unexpected_text(_EXPECTED_MASK, text)
    mask.paths.extend(map(_snake, paths))


def _read_mask_of_any_names(text: str, mask: Any) -> None:  # noqa: ANN401
    for path in (paths := _mask_paths(text)):
        if not _CAMEL_PATH.fullmatch(path) and not _ORIGINAL_PATH.fullmatch(path):
            raise unexpected_text(_EXPECTED_NAMES, text)
    mask.paths.extend(_snake(path) if _CAMEL_PATH.fullmatch(path) else path for path in paths)


def _mask_paths(text: str) -> list[str]:
    if len(text) > _LONGEST_MASK:
        raise unexpected_text(f"field paths of at most {_LONGEST_MASK} characters", text)
    return text.split(",") if text else []


def _snake(path: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", path)


def _write_mask(mask: Any) -> str:  # noqa: ANN401
    for path in mask.paths:
        if not _SNAKE_PATH.fullmatch(path):
            raise ValueError(f"no lowerCamelCase for the field path {path!r}")
    return ",".join(re.sub("_([a-z])", lambda letter: letter[1].upper(), path) for path in mask.paths)
