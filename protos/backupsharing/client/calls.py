"""The calls of both clients: for each call the request, whether it is repeatable, and the parser of its response.

The functions here build calls; the clients send them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from backupsharing.client import mapping
from backupsharing.client.errors import unreadable
from backupsharing.client.model import Backup, OnConflict, Sharing, SharingDetail, SharingFilter, SortDir, SortKey
from backupsharing.v2 import backup_catalog_pb2 as catalog
from backupsharing.v2 import backup_sharing_pb2 as sharing

Result = TypeVar("Result")
Item = TypeVar("Item")

PAGE_SIZE = 100
"""Items in a page of a list: usually a few thousand bytes, and never more than `endpoint.LONGEST_ANSWER`."""

_SHARINGS = "/backupsharing.v2.BackupSharingService"
_CATALOG = "/backupsharing.v2.BackupCatalogService"
_POLICIES = {
    None: sharing.CONFLICT_POLICY_UNSPECIFIED,
    "refuse": sharing.CONFLICT_POLICY_REFUSE,
    "return": sharing.CONFLICT_POLICY_RETURN_STANDING,
}


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """A call that can be sent."""

    method: str
    """gRPC path of the method."""
    request: Message
    parse: Callable[[bytes], Message]
    """Parser of the serialized response."""
    read: Callable[[Any], Result]
    """Converter from the response message to the result of the call."""
    is_repeatable: bool
    """Whether sending the call twice has the same effect as sending it once."""

    @property
    def idempotency_key(self) -> str:
        """The idempotency key of the request; empty if the request has none."""
        return getattr(self.request, "idempotency_key", "")

    def result(self, answer: bytes) -> Result:
        """Return the result of a serialized response.

        Raises:
            ServerFault: the response cannot be read.
        """
        # Not parsed by gRPC: its two kinds of channel handle unreadable responses in different ways.
        try:
            return self.read(self.parse(answer))
        except (DecodeError, IndexError, ValueError, OverflowError):
            # OverflowError: a time may be out of the range of Python's datetime.
            raise unreadable(self.method, self.idempotency_key) from None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list."""

    items: Sequence[Item]
    next_token: str
    """Token for the next page; empty on the last page."""


def expiry(
    at: datetime | timedelta | None, key: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> datetime | None:
    """Return the time at which a sharing is to end.

    Raises:
        ValueError: ``at`` is a timedelta although there is an idempotency key, or leads beyond the year 9999.
    """
    if not isinstance(at, timedelta):
        return at
    if key is not None:
        raise ValueError(
            "expires_at is a timedelta, so its time differs in each call; with idempotency_key, a datetime"
        )
    try:
        return now() + at
    except OverflowError:
        raise ValueError(f"expires_at is {at} from now, which is after the year 9999") from None


def share(
    project_id: str,
    backup_id: str,
    recipients: Sequence[str],
    key: str | None,
    on_conflict: OnConflict | None,
    expires_at: datetime | None = None,
    validate_only: bool = False,
) -> Call[tuple[Sharing, ...]]:
    """Share a backup."""
    if isinstance(recipients, str):
        raise TypeError("project_ids is a single string; expected a sequence of strings, such as a list")
    request = sharing.ShareBackupRequest(
        project_id=_given(project_id),
        shared=sharing.BackupRecipients(backup_id=backup_id, to_project_ids=recipients),
        idempotency_key=_key(key, validate_only),
        conflict_policy=_POLICIES[on_conflict],
        expire_time=None if expires_at is None else mapping.timestamp("expires_at", expires_at),
        validate_only=validate_only,
    )
    return Call(
        f"{_SHARINGS}/ShareBackup",
        request,
        sharing.ShareBackupResponse.FromString,
        lambda answer: mapping.sharings(answer.shared),
        is_repeatable=True,
    )


def cancel(project_id: str, sharing_id: str, key: str | None, validate_only: bool = False) -> Call[Sharing]:
    """Cancel one sharing."""
    request = _cancel_request(project_id, sharing_id, key, validate_only)
    return _cancelling(request, lambda answer: mapping.sharing(answer.shared[0]))


def cancel_all(
    project_id: str, backup_id: str, key: str | None, validate_only: bool = False
) -> Call[tuple[Sharing, ...]]:
    """Cancel all sharings of a backup."""
    request = _cancel_request(project_id, backup_id, key, validate_only)
    request.is_backup_id = True
    return _cancelling(request, lambda answer: mapping.sharings(answer.shared))


def get(project_id: str, sharing_id: str) -> Call[SharingDetail]:
    """Get one sharing."""
    request = sharing.GetSharingRequest(project_id=_given(project_id), id=sharing_id)
    return Call(
        f"{_SHARINGS}/GetSharing",
        request,
        sharing.GetSharingResponse.FromString,
        lambda answer: mapping.detail(_present(answer, "shared")),
        is_repeatable=True,
    )


def list_sharings(
    project_id: str, which: SharingFilter, sort_key: SortKey | None, sort_dir: SortDir | None, page_size: int
) -> Callable[[str], Call[Page[SharingDetail]]]:
    """Return a function that builds the call for the page of sharings with a given token."""
    request = sharing.ListSharingsRequest(
        project_id=_given(project_id), sort_key=sort_key, sort_dir=sort_dir, limit=page_size, **_members(which)
    )

    def page(token: str) -> Call[Page[SharingDetail]]:
        asked = sharing.ListSharingsRequest()
        asked.CopyFrom(request)
        asked.page_token = token
        return Call(
            f"{_SHARINGS}/ListSharings",
            asked,
            sharing.ListSharingsResponse.FromString,
            lambda answer: Page([mapping.detail(one) for one in answer.shared], answer.next_page_token),
            is_repeatable=True,
        )

    return page


def count(project_id: str, which: SharingFilter) -> Call[int]:
    """Count sharings."""
    request = sharing.CountSharingsRequest(project_id=_given(project_id), **_members(which))
    return Call(
        f"{_SHARINGS}/CountSharings",
        request,
        sharing.CountSharingsResponse.FromString,
        lambda answer: int(answer.count),
        is_repeatable=True,
    )


def put_backup(backup: Backup) -> Call[Backup]:
    """Create or replace a backup. Not repeatable: a late second attempt would undo changes made in between."""
    return Call(
        f"{_CATALOG}/PutBackup",
        catalog.PutBackupRequest(backup=mapping.to_backup(backup)),
        catalog.PutBackupResponse.FromString,
        lambda answer: mapping.backup(_present(answer, "backup")),
        is_repeatable=False,
    )


def get_backup(backup_id: str) -> Call[Backup]:
    """Get one backup."""
    return Call(
        f"{_CATALOG}/GetBackup",
        catalog.GetBackupRequest(backup_id=backup_id),
        catalog.GetBackupResponse.FromString,
        lambda answer: mapping.backup(_present(answer, "backup")),
        is_repeatable=True,
    )


def list_backups(project_id: str, page_size: int) -> Callable[[str], Call[Page[Backup]]]:
    """Return a function that builds the call for the page of backups with a given token."""

    def page(token: str) -> Call[Page[Backup]]:
        return Call(
            f"{_CATALOG}/ListBackups",
            catalog.ListBackupsRequest(project_id=project_id, limit=page_size, page_token=token),
            catalog.ListBackupsResponse.FromString,
            lambda answer: Page([mapping.backup(one) for one in answer.backups], answer.next_page_token),
            is_repeatable=True,
        )

    return page


def remove_backup(backup_id: str) -> Call[tuple[Sharing, ...]]:
    """Remove a backup. Not repeatable: a second attempt fails if the first one succeeded."""
    return Call(
        f"{_CATALOG}/RemoveBackup",
        catalog.RemoveBackupRequest(backup_id=backup_id),
        catalog.RemoveBackupResponse.FromString,
        lambda answer: mapping.sharings(answer.shared),
        is_repeatable=False,
    )


def _cancel_request(
    project_id: str, identifier: str, key: str | None, validate_only: bool
) -> sharing.CancelSharingRequest:
    return sharing.CancelSharingRequest(
        project_id=_given(project_id),
        id=identifier,
        idempotency_key=_key(key, validate_only),
        validate_only=validate_only,
    )


def _cancelling(request: Message, read: Callable[[Any], Result]) -> Call[Result]:
    return Call(
        f"{_SHARINGS}/CancelSharing", request, sharing.CancelSharingResponse.FromString, read, is_repeatable=True
    )


def _members(which: SharingFilter) -> dict[str, Any]:
    if unknown := which.keys() - SharingFilter.__annotations__.keys():
        raise TypeError(f"unknown filter: {', '.join(sorted(unknown))}")
    named: dict[str, Any] = dict(which)
    if "received" in named:
        named["share_to_me"] = named.pop("received")
    return named


def _given(project_id: str) -> str:
    if not project_id:
        raise ValueError("the client was created without a project, which calls about sharings need")
    return project_id


def _key(given: str | None, validate_only: bool) -> str | None:
    if given == "":
        raise ValueError("idempotency_key is empty; expected 1 to 255 characters, or None for a new key")
    # A call that stores nothing can be repeated without a key.
    return str(uuid.uuid4()) if given is None and not validate_only else given


def _present(answer: Message, name: str) -> Any:  # noqa: ANN401 -- the message in that field
    if not answer.HasField(name):
        raise DecodeError(f"{name} is missing")
    return getattr(answer, name)
