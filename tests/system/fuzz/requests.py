"""Hostile requests, derived from valid ones by a seeded generator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.system.fuzz.pair import Project

_RECIPIENTS = tuple(f"recipient-{number}" for number in range(300))
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "LOCK")
_IN_TARGETS = (
    "%", "%00", "%2F", "%2f..", "..", "/", "//", "%ff", "%C3%A9", "%c3", "%ed%a0%80", "%F0%9F%92%BE", "+", ";", "&",
    "=", "?", "#", "{", "}", "'", '"', "\\", "<x>", ":", ":undo", "*", "**", "~", "@", "[0]", "|", "^", "`", "$", ",",
    "0" * 200, "-1", "1e999", "99999999999999999999", "null", "true", "%zz", "%u0041", "a" * 3000,
)  # fmt: skip
_PARAMETERS = (
    "share_to_me", "volume_id", "name", "status", "backup_id", "from_project_id", "to_project_id", "limit", "offset",
    "availability_zone", "avalilability_zone", "sort_key", "sort_dir", "is_backup_id", "project_id", "page_token",
    "limt", "Limit", "__proto__", "backup.id", "backup", "a.b.c.d", "", "%00", "name[]",
)  # fmt: skip
_VALUES = (
    "", "true", "false", "1", "0", "-1", "2147483647", "2147483648", "1e3", "%2B1", "asc", "desc", "created_at", "size",
    "id", "name", "%25", "_", "%27%20OR%201=1--", "%F0%9F%92%BE", "%ff", "%", "a%00b", "x" * 300, "%C4%B0", "null",
    "066b1e37-9305-4057-97e5-2e99b21fc71d", "066B1E37-9305-4057-97E5-2E99B21FC71D", "available", "+", "a+b",
)  # fmt: skip
_HEADERS = (
    "Accept", "Content-Type", "X-Auth-Token", "Idempotency-Key", "Grpc-Timeout", "Expect", "X-Openstack-Request-Id",
    "Authorization", "traceparent", "tracestate", "Origin", "Cookie", "X-Forwarded-Host", "X-Forwarded-Proto", "Host",
    "Content-Encoding", "Last-Event-ID", "Range", "If-None-Match", "Te", "Via", "X-Http-Method-Override",
)  # fmt: skip
_HEADER_VALUES = (
    "", "*/*", "text/html", "application/json", "application/json;q=0", "*/*;q=nan", "q", ";;;", ",,,", "text/*;q=",
    "application/json; charset=utf-16", "application/json; charset", "gzip", "identity", "100-continue", "200-ok", "0S",
    "1n", "5S", "99999999H", "123456789S", "-1S", "x" * 255, "x" * 256, "x" * 8000, "a b", '"', "\xff\xfe", "caf\xe9",
    "key-1", "key-2", "req-066b1e37-9305-4057-97e5-2e99b21fc71d", "00-0-0-00", "https://page.example", "a=b; c=d",
    "' OR 1=1 --", "../../etc/passwd", "%0d%0aX: y", "\t", "[::1]:99999", "a,b", "bytes=0-1", "trailers",
)  # fmt: skip
_JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**63, -(2**70), "", "x", "\x00", "\ud800", "\U0001f4be", "x" * 5000, [], {},
    [[]], [None], {"": 1}, {"a": {"b": {}}}, ["a", 1], "066b1e37-9305-4057-97e5-2e99b21fc71d", "recipient-1", "NaN",
)  # fmt: skip
_JSON_TEXTS = (
    b"NaN", b"-Infinity", b"1e999999", b"01", b"+1", b"'x'", b'"\\u00"', b'"\\x"', b"// c", b"/* */", b",", b"}", b"]",
    b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\x00", b'"\\ud800"', b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"{}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes to send."""

    sent: bytes
    is_head: bool


Generator = Callable[[Random, Project], Request]


def path(random: Random, project: Project) -> Request:
    """Return a request with a mutated path of characters that HTTP allows; for other characters see `raw`."""
    target = project.path + random.choice(("", "/detail", "/count", f"/{_identifier(random, project)}"))
    for _ in range(random.choice((1, 1, 2, 4))):
        target = _mutated(random, target)
    if not target.startswith("/"):
        target = f"/{target}"
    return _request(random.choice(_METHODS), target, {"X-Auth-Token": project.token})


def query(random: Random, project: Project) -> Request:
    """Return a request with wrong, unknown, duplicate or badly encoded parameters."""
    names = [random.choice(_PARAMETERS) for _ in range(random.randint(1, 4))]
    pairs = [f"{name}={random.choice(_VALUES)}" for name in names]
    if random.random() < 0.3:
        pairs.append(_mutated(random, random.choice(pairs)))
    end = random.choice(("/detail", "/detail", "/count", f"/{_identifier(random, project)}"))
    target = (
        f"{project.path}{end}?limit=2&{'&'.join(pairs)}"
        if end == "/detail"
        else f"{project.path}{end}?{'&'.join(pairs)}"
    )
    method = random.choice(("GET", "GET", "GET", "HEAD", "DELETE")) if end.count("-") > 2 else "GET"
    return _request(method, target, {"X-Auth-Token": project.token})


def header(random: Random, project: Project) -> Request:
    """Return a valid request with invalid headers."""
    given = {"X-Auth-Token": project.token}
    for _ in range(random.randint(1, 3)):
        given[random.choice(_HEADERS)] = random.choice(_HEADER_VALUES)
    method, target, body = _good(random, project)
    return _request(method, target, given, body)


def body(random: Random, project: Project) -> Request:
    """Return a request with a mutation of the documented body."""
    value = _share(random, project)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        value = _with_another_member(random, value)
    text = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    if random.random() < 0.4:
        text = _with_other_bytes(random, text)
    target = project.path if random.random() < 0.95 else f"{project.path}/{_identifier(random, project)}"
    return _request(random.choice(("POST", "POST", "POST", "DELETE")), target, {"X-Auth-Token": project.token}, text)


def raw(random: Random, project: Project) -> Request:
    """Return bytes that may not be HTTP. Their token is invalid, so that the server stores nothing."""
    method, target, text = _good(random, project)
    extra = random.choice(
        ({}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "5"}, {"Connection": "close"}, {"Upgrade": "h2c"},
         {"Connection": "Upgrade", "Upgrade": "websocket"}, {"Transfer-Encoding": "gzip, chunked"}, {"Expect": "x"})
    )  # fmt: skip
    sent = _request(method, target, {"X-Auth-Token": "nobody", **extra}, text).sent
    for _ in range(random.choice((0, 1, 2, 8))):
        sent = _with_other_bytes(random, sent)
    return Request(sent, sent.lstrip().startswith(b"HEAD"))


GENERATORS: Mapping[str, Generator] = {"path": path, "query": query, "header": header, "body": body, "raw": raw}


def _good(random: Random, project: Project) -> tuple[str, str, bytes]:
    kind = random.randrange(5)
    if kind == 0:
        return "POST", project.path, json.dumps(_share(random, project)).encode()
    if kind == 1:
        return "GET", f"{project.path}/detail?limit=2", b""
    if kind == 2:
        return "GET", f"{project.path}/count", b""
    return ("GET" if kind == 3 else "DELETE"), f"{project.path}/{_identifier(random, project)}", b""


def _share(random: Random, project: Project) -> Any:  # noqa: ANN401 - any JSON
    recipients = random.sample(_RECIPIENTS, random.choice((1, 1, 1, 2, 5)))
    return {"shared": {"backup_id": random.choice(project.backups), "to_project_ids": recipients}}


def _identifier(random: Random, project: Project) -> str:
    """Return the id of a created sharing, or of a backup before the first sharing."""
    return random.choice(project.acknowledged[-100:] or project.backups)


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Request:
    lines = {"Host": "fuzz", **headers}
    if body:
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **lines}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Request(head.encode("latin-1", "replace") + b"\r\n" + body, method == "HEAD")


def _mutated(random: Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    end = min(at + random.choice((0, 0, 1, 4, 16)), len(text))
    match random.randrange(4):
        case 0:
            return text[:at] + random.choice(_IN_TARGETS) + text[end:]
        case 1:
            return text[:at] + text[end:]
        case 2:
            return text[:end] + text[at:]
        case _:
            return text[:at] + text[at:end].swapcase() + chr(random.randrange(0x21, 0x7F)) + text[end:]


def _with_another_member(random: Random, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the value with one random change."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice([*value])
        if random.random() < 0.2:
            other = random.choice(("backupId", "extra", "", "shared", "backup_id", "\x00", "id", "x" * 100))
            return {**value, other: random.choice(_JSON_VALUES)}
        if random.random() < 0.1:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: _with_another_member(random, value[name])}
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return [*value[:at], _with_another_member(random, value[at]), *value[at + random.randrange(2) :]]
    return random.choice(_JSON_VALUES)


def _with_other_bytes(random: Random, text: bytes) -> bytes:
    at = random.randrange(len(text) + 1)
    end = min(at + random.choice((0, 1, 2, 8, 64)), len(text))
    match random.randrange(5):
        case 0:
            return text[:at] + random.choice(_JSON_TEXTS) + text[end:]
        case 1:
            return text[:at] + text[end:]
        case 2:
            return text[:end] + text[at:]
        case 3:
            return text[:at] + random.randbytes(end - at) + text[end:]
        case _:
            return text[:at]
