"""Request headers that the gateway evaluates: deadline, media type, gzip."""

from __future__ import annotations

import re

from multidict import CIMultiDict, CIMultiDictProxy

from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation, shortened

JSON = "application/json"

BY_NAME = 2
"""Precision of an ``Accept`` that names the media type itself; ranges such as ``text/*`` have a lower one."""

_MOST_ELEMENTS = 100
"""Maximum elements of a list header, and parameters of each, that are read; browsers send a dozen."""

_PLAIN_ACCEPTS = (None, [JSON], ["*/*"])
"""Values of ``Accept`` that most clients send and that allow JSON."""

_LONGEST_CONTENT_TYPE = 1000

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Headers = CIMultiDictProxy[str]

NO_HEADERS: Headers = CIMultiDictProxy(CIMultiDict())


def timeout(headers: Headers) -> float | None:
    """Return the seconds in the client's ``Grpc-Timeout``; None without one.

    Raises:
        InvalidRequest: the header is not up to eight digits and a unit (H, M, S, m, u or n).
    """
    value = headers.get("Grpc-Timeout")
    if value is None:
        return None
    found = _TIMEOUT.fullmatch(value)
    if not found:
        raise InvalidRequest(
            Violation("Grpc-Timeout", f"{shortened(value)!r} is no timeout, expected up to 8 digits and a unit")
        )
    return int(found[1]) * _UNITS[found[2]]


def check_accepts_json(headers: Headers) -> None:
    """Return if ``Accept`` allows JSON.

    Raises:
        RequestFailed: 406.
    """
    if headers.getall("Accept", None) in _PLAIN_ACCEPTS:
        return
    if quality(headers, JSON) <= 0:
        accept = ",".join(headers.getall("Accept", ()))
        raise RequestFailed(406, f"The answer is {JSON}, which 'Accept: {accept[:100]}' rules out.")


def quality(headers: Headers, media: str) -> float:
    """Return the quality of a media type in ``Accept``, 0 to 1, from the most precise matching range."""
    return preference(headers, media)[0] if "Accept" in headers else 1.0


def preference(headers: Headers, media: str) -> tuple[float, int]:
    """Return the rank of a media type: the quality, then the precision of the range in ``Accept``, up to `BY_NAME`."""
    accepted = _listed(headers, "Accept")
    if len(accepted) == 1 and not accepted[0].strip():
        return 1.0, 0
    ranges = ("*/*", media.partition("/")[0] + "/*", media)
    wanted = [(ranges.index(found), value) for found, value in map(_media_range, accepted) if found in ranges]
    precision, value = max(wanted, default=(0, 0.0))
    return value, precision


def accepts_gzip(headers: Headers) -> bool:
    """Return whether ``Accept-Encoding`` allows gzip."""
    wanted = map(_media_range, _listed(headers, "Accept-Encoding"))
    return any(name == "gzip" and value > 0 for name, value in wanted)


def _listed(headers: Headers, name: str) -> list[str]:
    """Return the elements of a list header, a limited number so that no client keeps the event loop busy."""
    return ",".join(headers.getall(name, ())).split(",", _MOST_ELEMENTS)[:_MOST_ELEMENTS]


def check_is_json(headers: Headers) -> None:
    """Return if the body may be JSON; a body without a content type may.

    Raises:
        InvalidRequest: ``Content-Type`` or ``Content-Encoding`` says that it is not.
    """
    value = headers.get("Content-Type", JSON)
    if value == JSON and "Content-Encoding" not in headers:
        return
    media, _, parameters = value.partition(";") if len(value) <= _LONGEST_CONTENT_TYPE else ("", "", "")
    names = (part.partition("=") for part in parameters.split(";") if part.strip())
    charsets = {text.strip(' "').lower() for name, _, text in names if name.strip().lower() == "charset"}
    if media.strip().lower() != JSON or not charsets <= {"utf-8", "utf8", "us-ascii"}:
        expected = "application/json in UTF-8 is expected"
        raise InvalidRequest(Violation("Content-Type", f"{shortened(value)!r} is not what this call takes, {expected}"))
    check_is_not_encoded(headers)


def check_is_not_encoded(headers: Headers) -> None:
    """Return if the body is sent as it is.

    Raises:
        InvalidRequest: ``Content-Encoding`` says that it is not.
    """
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise InvalidRequest(
            Violation("Content-Encoding", f"{shortened(encoding)!r} is not read here, send the body as it is")
        )


def _media_range(text: str) -> tuple[str, float]:
    media, _, parameters = text.partition(";")
    for part in parameters.split(";", _MOST_ELEMENTS)[:_MOST_ELEMENTS]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "q":
            try:
                return media.strip().lower(), max(0.0, min(1.0, float(value)))
            except ValueError:
                return media.strip().lower(), 0.0
    return media.strip().lower(), 1.0
