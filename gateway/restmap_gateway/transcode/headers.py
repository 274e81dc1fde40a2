"""Which headers become metadata, and which metadata become headers; what a header asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import uuid_utils
from multidict import CIMultiDict, CIMultiDictProxy

from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation, shortened

REQUEST_ID = "X-Openstack-Request-Id"

_REQUEST_ID_KEY = REQUEST_ID.lower()
_CLIENT_REQUEST_ID_KEY = "x-client-request-id"

JSON = "application/json"

_TRACE = ("traceparent", "tracestate")

TO_METADATA = ("authorization", "x-auth-token", *_TRACE)
"""Request headers that the server sees, by the same name."""

FROM_PROXY = (
    "proxy-authorization",
    "x-identity-status",
    "x-project-id",
    "x-project-domain-id",
    "x-user-id",
    "x-roles",
)
"""Request headers of an authenticating proxy in front, which the server sees only where one is expected."""

FORWARDED_FOR = "x-forwarded-for"
"""Metadata key of the client's address."""

BY_NAME = 2
"""The precision of an ``Accept`` that has the media type itself; ranges such as ``text/*`` have less."""

TO_HEADERS = {"www-authenticate": "WWW-Authenticate", "proxy-authenticate": "Proxy-Authenticate"}
"""Metadata of an answer that the client sees, and under which name."""

_MOST_ELEMENTS = 100
"""Of a header that is a list, and parameters of each, that are looked at; browsers send a dozen."""

_PLAIN_ACCEPTS = (None, [JSON], ["*/*"])
"""Values of ``Accept`` that most clients send, and that let JSON through."""

_LONGEST_CONTENT_TYPE = 1000

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PRINTABLE = re.compile(r"[ -~]*")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Headers = CIMultiDictProxy[str]

NO_HEADERS: Headers = CIMultiDictProxy(CIMultiDict())


def new_request_id() -> str:
    """A fresh id for a request. Clients give ids too, and may give that of another's request: they are only logged."""
    return f"req-{uuid_utils.uuid4()}"


def client_request_id(headers: Headers) -> str | None:
    """The id that the client gave the request, if it is well formed."""
    given = headers.get(REQUEST_ID)
    return given if given and _REQUEST_ID.fullmatch(given) else None


def request_ids(headers: Headers, request_id: str) -> list[tuple[str, str]]:
    """The metadata that tell the server the gateway's id of a request, and its client's."""
    given = client_request_id(headers)
    return [(_REQUEST_ID_KEY, request_id), *([(_CLIENT_REQUEST_ID_KEY, given)] if given else [])]


def server_request_id(metadata: Sequence[tuple[str, str | bytes]], request_id: str) -> str:
    """The id of a request in the server's log: the one that came with the answer, or else the gateway's own.

    A server takes over the id of a gateway that it knows, and no other.
    """
    for key, value in metadata:
        if key == _REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return request_id


def to_metadata(headers: Headers, names: Sequence[str] = TO_METADATA) -> list[tuple[str, str]]:
    """The metadata that a request's headers become; a trace that cannot be read is no reason to fail, but ends here.

    Raises:
        InvalidRequest: one of them is given twice or holds characters that metadata cannot.
    """
    metadata: list[tuple[str, str]] = []
    for name in names:
        values = headers.getall(name, None)
        if values is None:
            continue
        if name in _TRACE:
            metadata += _trace(name, values)
            continue
        if len(values) > 1:
            raise InvalidRequest(Violation(name, f"the header is given {len(values)} times, expected once"))
        if not _PRINTABLE.fullmatch(values[0]):
            raise InvalidRequest(Violation(name, "the header holds characters that are not printable ASCII"))
        metadata.append((name, values[0]))
    return metadata


def _trace(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    # By W3C Trace Context: several of the second are one list, several of the first are none.
    value = ",".join(values)
    is_well_formed = bool(value) and bool(_PRINTABLE.fullmatch(value)) and (len(values) == 1 or name == "tracestate")
    return [(name, value)] if is_well_formed else []


def from_metadata(metadata: Sequence[tuple[str, str | bytes]]) -> Mapping[str, str]:
    """The headers that an answer's metadata become."""
    return {TO_HEADERS[key]: value for key, value in metadata if key in TO_HEADERS and isinstance(value, str)}


def timeout(headers: Headers) -> float | None:
    """Seconds the call may take by the client's ``Grpc-Timeout``; None if it does not say.

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
    """Return if ``Accept`` lets JSON through.

    Raises:
        RequestFailed: 406.
    """
    if headers.getall("Accept", None) in _PLAIN_ACCEPTS:
        return
    if quality(headers, JSON) <= 0:
        accept = ",".join(headers.getall("Accept", ()))
        raise RequestFailed(406, f"The answer is {JSON}, which 'Accept: {accept[:100]}' rules out.")


def quality(headers: Headers, media: str) -> float:
    """How much ``Accept`` wants a media type, 0 to 1: by the most precise range that matches it."""
    return preference(headers, media)[0] if "Accept" in headers else 1.0


def preference(headers: Headers, media: str) -> tuple[float, int]:
    """What to choose by between media types: the quality, and how precisely ``Accept`` gives it, up to `BY_NAME`."""
    accepted = _listed(headers, "Accept")
    if len(accepted) == 1 and not accepted[0].strip():
        return 1.0, 0
    ranges = ("*/*", media.partition("/")[0] + "/*", media)
    wanted = [(ranges.index(found), value) for found, value in map(_media_range, accepted) if found in ranges]
    precision, value = max(wanted, default=(0, 0.0))
    return value, precision


def accepts_gzip(headers: Headers) -> bool:
    """Whether ``Accept-Encoding`` asks for gzip."""
    wanted = map(_media_range, _listed(headers, "Accept-Encoding"))
    return any(name == "gzip" and value > 0 for name, value in wanted)


def _listed(headers: Headers, name: str) -> list[str]:
    """The elements of a header that is a list; of very many the first, so that no client keeps the event loop busy."""
    return ",".join(headers.getall(name, ())).split(",", _MOST_ELEMENTS)[:_MOST_ELEMENTS]


def check_is_json(headers: Headers) -> None:
    """Return if the body may be read as JSON; a body without a content type may.

    Raises:
        InvalidRequest: ``Content-Type`` or ``Content-Encoding`` says that it is something else.
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
