"""Fast parser of responses, and the check against the contract."""

from __future__ import annotations

import asyncio
import re

import orjson

CONTRACT = frozenset((200, 400, 401, 403, 404, 405, 406, 407, 408, 409, 500, 501, 502, 503, 504))
NEVER = frozenset((500, 501, 502))
"""Statuses of the contract that cannot occur here; one of them means a defect."""

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
_REQUEST_ID = re.compile(rb"\r\nX-Openstack-Request-Id: req-[0-9a-f-]{36}\r\n")
_MEMBERS = {"code", "message", "reason", "details", "request_id"}
_CODE = re.compile(r"(VolumeBackup|AutoBackup|BackupSharing)\.\d{4}")


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[int, bytes, bytes]:
    """Return status, head and body of the next response; skip "100 Continue".

    Raises:
        EOFError, ConnectionError: the connection ended before the response was complete.
    """
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status != 100:
            break
    found = _LENGTH.search(head)
    if found is None or is_head:
        return status, head, b""
    return status, head, await reader.readexactly(int(found[1]))


def ends_connection(head: bytes) -> bool:
    """Return whether the connection closes after a response, so that the requests behind it get none."""
    return b"\r\nConnection: close\r\n" in head


def complaint(status: int, head: bytes, body: bytes, sent: bytes, *, is_head: bool) -> str:
    """Return the violation of a response to the request ``sent``; empty if there is none."""
    # 501 is for codings that the gateway does not decode.
    is_never = status in NEVER and not (status == 501 and b"transfer-encoding:" in sent.lower())
    if status not in CONTRACT or is_never:
        return f"status {status}"
    if not _REQUEST_ID.search(head):
        return "no request id"
    if status == 200 or is_head:
        return ""
    return _complaint_of_failure(head, body)


def made(body: bytes) -> list[str]:
    """Return the sharing ids in a successful POST response."""
    return [sharing["id"] for sharing in orjson.loads(body)["shared"]]


def _complaint_of_failure(head: bytes, body: bytes) -> str:
    if b"\r\nContent-Type: application/json\r\n" not in head:
        return "a failure that is not JSON"
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return "a failure whose body is not valid JSON"
    error = parsed.get("error") if isinstance(parsed, dict) and len(parsed) == 1 else None
    if not isinstance(error, dict) or not {"code", "message"} <= set(error) <= _MEMBERS:
        return "a failure in another shape"
    if not isinstance(error["message"], str) or not error["message"] or not _CODE.fullmatch(error["code"]):
        return "a failure without its code or message"
    leaks = ("Traceback", ".py", "SELECT ", "INSERT ", "sqlite", "site-packages")
    return next((f"a failure whose message contains {leak}" for leak in leaks if leak in error["message"]), "")
