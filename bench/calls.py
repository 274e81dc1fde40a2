"""The calls that are measured: how each is asked for, and whether an answer is right."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from backupsharing.v2 import backup_access_pb2 as access
from backupsharing.v2 import backup_sharing_pb2 as pb
from bench.job import LISTED, OWNER, STUB_RECIPIENT, TOKEN, Job, backup_id, owned_backup

PAGE = 100
LISTED_SHARINGS = 500

SERVICE = "/backupsharing.v2.BackupSharingService/"
ACCESS = "/backupsharing.v2.BackupAccessService/"
BATCH = 100
"""Questions of one batch."""
ECHO = "/bench.Echo/Echo"
_REST = f"/v2/{OWNER}/os-vendor-backup-sharing"
_REST_LISTED = f"/v2/{LISTED}/os-vendor-backup-sharing"
_KEY = "k" * 32
"""In place of an idempotency key, which is as long as the recipient that takes its place."""
_SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835


class WrongAnswer(Exception):
    """An answer that is not the one to the question; the message has both."""


class Call(Protocol):
    """One kind of call. Numbers count up from 0; each is asked for once."""

    def request(self, number: int) -> bytes:
        """What to send: a whole HTTP request, or a serialized message."""
        ...

    def check(self, number: int, answer: bytes) -> None:
        """Return if this is the right answer.

        Raises:
            WrongAnswer: it is not.
        """
        ...


class Shares:
    """New recipients for backups in turn, no two alike; keeps the ids of what was acknowledged."""

    def __init__(self, job: Job) -> None:
        self._backups = [backup_id(owned_backup(number)).encode() for number in range(job.backups)]
        self._start = secrets.randbits(96) << 32
        self._fixed = STUB_RECIPIENT.encode() if job.fixed else b""
        self._is_keyed = job.keyed
        self.acknowledged: list[str] = []

    def recipient(self, number: int) -> bytes:
        """Scattered as real ones are: neighbours in time are none in an index."""
        return f"{(self._start + number) * _SCATTER % 2**128:032x}".encode()

    def backup(self, number: int) -> bytes:
        """The id of the backup that is shared."""
        return self._backups[number % len(self._backups)]

    def answered(self, number: int) -> bytes:
        """The recipient that the answer must name."""
        return self._fixed or self.recipient(number)


class RestShare(Shares):
    """The documented POST with one recipient."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        body = len(b"".join(self._parts(0)))
        headers = {"Content-Type": "application/json", "Content-Length": str(body)}
        if job.keyed:
            headers["Idempotency-Key"] = _KEY
        self._head, _, self._behind_key = http_head(job, "POST", _REST, headers).partition(_KEY.encode())

    def _parts(self, number: int) -> tuple[bytes, ...]:
        backup = self.backup(number)
        return (b'{"shared":{"to_project_ids":["', self.recipient(number), b'"],"backup_id":"', backup, b'"}}')

    def request(self, number: int) -> bytes:
        """Do what `Call.request` promises."""
        key = self.recipient(number) if self._is_keyed else b""
        return b"".join((self._head, key, self._behind_key, *self._parts(number)))

    def check(self, number: int, answer: bytes) -> None:
        """Do what `Call.check` promises."""
        at = answer.find(b'"id":"')
        recipient = b'"to_project_id":"%b"' % self.answered(number)
        if at < 0 or recipient not in answer or (not self._fixed and self.backup(number) not in answer):
            raise WrongAnswer(f"{self.request(number)!r} -> {answer!r}")
        if not self.acknowledged:
            json.loads(answer)["shared"][0]["id"]  # well-formed as a whole
        self.acknowledged.append(answer[at + 6 : at + 42].decode())


class GrpcShare(Shares):
    """The same over gRPC."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        recipient, backup = "r" * 32, "b" * 36
        shared = pb.BackupRecipients(to_project_ids=[recipient], backup_id=backup)
        whole = pb.ShareBackupRequest(project_id=OWNER, shared=shared)
        if job.keyed:
            whole.idempotency_key = _KEY
        self._head, _, rest = whole.SerializeToString().partition(recipient.encode())
        self._middle, _, rest = rest.partition(backup.encode())
        self._tail, _, self._behind_key = rest.partition(_KEY.encode())

    def request(self, number: int) -> bytes:
        """Do what `Call.request` promises."""
        recipient = self.recipient(number)
        key = recipient if self._is_keyed else b""
        return b"".join((self._head, recipient, self._middle, self.backup(number), self._tail, key, self._behind_key))

    def check(self, number: int, answer: bytes) -> None:
        """Do what `Call.check` promises."""
        shared = pb.ShareBackupResponse.FromString(answer).shared
        if len(shared) != 1 or shared[0].to_project_id.encode() != self.answered(number) or len(shared[0].id) != 36:
            raise WrongAnswer(f"{self.request(number)!r} -> {answer!r}")
        self.acknowledged.append(shared[0].id)


class CheckedCall:
    """Calls that are all alike, or ask for one value after the other."""

    def __init__(self, requests: Sequence[bytes], check: Callable[[int, bytes], bool]) -> None:
        self._requests = requests
        self._is_right = check

    def request(self, number: int) -> bytes:
        """Do what `Call.request` promises."""
        return self._requests[number % len(self._requests)]

    def check(self, number: int, answer: bytes) -> None:
        """Do what `Call.check` promises."""
        if not self._is_right(number % len(self._requests), answer):
            raise WrongAnswer(f"{self.request(number)!r} -> {answer[:2000]!r}")


def http_head(job: Job, method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request as a lean client sends it."""
    named = {"Host": job.addresses[0], "X-Auth-Token": TOKEN, "Accept": "application/json", **headers}
    if job.close:
        named["Connection"] = "close"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode("ascii")


def _rest_get(job: Job, path: str) -> bytes:
    return http_head(job, "GET", f"{_REST_LISTED}/{path}", {})


def _rest_page(job: Job, offset: int) -> CheckedCall:
    query = f"?limit={PAGE}" + (f"&offset={offset}" if offset else "")
    return CheckedCall([_rest_get(job, f"detail{query}")], lambda _, answer: answer.count(b'"to_project_id":') == PAGE)


def _rest_count(job: Job) -> CheckedCall:
    wanted = b'{"count":%d}' % LISTED_SHARINGS
    return CheckedCall([_rest_get(job, "count")], lambda _, answer: answer == wanted)


def _rest_one(job: Job) -> CheckedCall:
    wanted = [b'"id":"%b"' % value.encode() for value in job.values]
    return CheckedCall([_rest_get(job, value) for value in job.values], lambda index, answer: wanted[index] in answer)


def _grpc_page(job: Job) -> CheckedCall:
    request = pb.ListSharingsRequest(project_id=LISTED, limit=PAGE, page_token=job.values[0] if job.values else "")

    def is_right(_: int, answer: bytes) -> bool:
        return len(pb.ListSharingsResponse.FromString(answer).shared) == PAGE

    return CheckedCall([request.SerializeToString()], is_right)


def _grpc_count(_: Job) -> CheckedCall:
    wanted = pb.CountSharingsResponse(count=LISTED_SHARINGS).SerializeToString()
    request = pb.CountSharingsRequest(project_id=LISTED)
    return CheckedCall([request.SerializeToString()], lambda _, answer: answer == wanted)


def _grpc_one(job: Job) -> CheckedCall:
    requests = [pb.GetSharingRequest(project_id=LISTED, id=value).SerializeToString() for value in job.values]

    def is_right(index: int, answer: bytes) -> bool:
        return pb.GetSharingResponse.FromString(answer).shared.id == job.values[index]

    return CheckedCall(requests, is_right)


def _checks(job: Job) -> list[access.CheckAccessRequest]:
    """The questions of a job, whose values are a backup, a slash and a project that it is shared with."""
    parts = [value.partition("/") for value in job.values]
    return [access.CheckAccessRequest(backup_id=backup, project_id=project) for backup, _, project in parts]


def _grpc_check(job: Job) -> CheckedCall:
    requests = [one.SerializeToString() for one in _checks(job)]
    return CheckedCall(requests, lambda _, answer: access.CheckAccessResponse.FromString(answer).allowed)


def _grpc_batch(job: Job) -> CheckedCall:
    request = access.BatchCheckAccessRequest(checks=_checks(job)[:BATCH])

    def is_right(_: int, answer: bytes) -> bool:
        results = access.BatchCheckAccessResponse.FromString(answer).results
        return len(results) == BATCH and all(result.allowed for result in results)

    return CheckedCall([request.SerializeToString()], is_right)


def _grpc_history(job: Job) -> CheckedCall:
    request = access.ListSharingEventsRequest(project_id=job.values[0], limit=PAGE)

    def is_right(_: int, answer: bytes) -> bool:
        return len(access.ListSharingEventsResponse.FromString(answer).events) == PAGE

    return CheckedCall([request.SerializeToString()], is_right)


def _echo(_: Job) -> CheckedCall:
    request = b"x" * 120
    return CheckedCall([request], lambda _, answer: answer == request)


_REST_CALLS: Mapping[str, Callable[[Job], Call]] = {
    "share": RestShare,
    "list": lambda job: _rest_page(job, 0),
    "next page": lambda job: _rest_page(job, PAGE),
    "count": _rest_count,
    "get": _rest_one,
}
_GRPC_CALLS: Mapping[str, tuple[str, Callable[[Job], Call]]] = {
    "share": (f"{SERVICE}ShareBackup", GrpcShare),
    "list": (f"{SERVICE}ListSharings", _grpc_page),
    "next page": (f"{SERVICE}ListSharings", _grpc_page),
    "count": (f"{SERVICE}CountSharings", _grpc_count),
    "get": (f"{SERVICE}GetSharing", _grpc_one),
    "check": (f"{ACCESS}CheckAccess", _grpc_check),
    "batch": (f"{ACCESS}BatchCheckAccess", _grpc_batch),
    "history": (f"{ACCESS}ListSharingEvents", _grpc_history),
    "echo": (ECHO, _echo),
}


def call_of(job: Job) -> Call:
    """What a job asks for."""
    return _REST_CALLS[job.call](job) if job.protocol == "rest" else _GRPC_CALLS[job.call][1](job)


def grpc_path(job: Job) -> str:
    """The full name of a job's method."""
    return _GRPC_CALLS[job.call][0]
