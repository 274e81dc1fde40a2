"""The calls there are: what each asks for, whether it can be sent again, and how its answer is read.

Nothing here sends anything, so that both clients have it in common.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
"""Of lists: a page is a few thousand bytes in practice, and never more than `door.LONGEST_ANSWER`."""

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
    """Its path in gRPC."""
    request: Message
    parse: Callable[[bytes], Message]
    """Bytes of the answer → message."""
    read: Callable[[Any], Result]
    """Message of the answer → what the caller gets."""
    is_repeatable: bool
    """Whether sending it twice does no more than sending it once."""

    @property
    def idempotency_key(self) -> str:
        """With which it can be sent again; empty if it has none."""
        return getattr(self.request, "idempotency_key", "")

    def result(self, answer: bytes) -> Result:
        """What the caller gets of an answer.

        Raises:
            ServerFault: it is not what the service answers.
        """
        # Not left to gRPC, whose two kinds of channel do different things with what they cannot read.
        try:
            return self.read(self.parse(answer))
        except (DecodeError, IndexError, ValueError, OverflowError):
            # A time may be one that Python does not have.
            raise unreadable(self.method, self.idempotency_key) from None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list."""

    items: Sequence[Item]
    next_token: str
    """Asks for the next one; empty on the last."""


def share(
    project_id: str, backup_id: str, recipients: Sequence[str], key: str | None, on_conflict: OnConflict | None
) -> Call[tuple[Sharing, ...]]:
    """Share a backup."""
    if isinstance(recipients, str):
        raise TypeError("project_ids is one text; expected are several, such as a list")
    request = sharing.ShareBackupRequest(
        project_id=_given(project_id),
        shared=sharing.BackupRecipients(backup_id=backup_id, to_project_ids=recipients),
        idempotency_key=_key(key),
        conflict_policy=_POLICIES[on_conflict],
    )
    return Call(
        f"{_SHARINGS}/ShareBackup",
        request,
        sharing.ShareBackupResponse.FromString,
        lambda answer: mapping.sharings(answer.shared),
        is_repeatable=True,
    )


def cancel(project_id: str, sharing_id: str, key: str | None) -> Call[Sharing]:
    """Cancel one sharing."""
    request = _cancel_request(project_id, sharing_id, key)
    return _cancelling(request, lambda answer: mapping.sharing(answer.shared[0]))


def cancel_all(project_id: str, backup_id: str, key: str | None) -> Call[tuple[Sharing, ...]]:
    """Cancel all sharings of a backup."""
    request = _cancel_request(project_id, backup_id, key)
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
    """List sharings: answers the call for the page with a given token."""
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
    """Create or replace a backup. Has no key: sent late a second time, it would undo what came between."""
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
    """List backups: answers the call for the page with a given token."""

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
    """Remove a backup. Has no key: sent again, it would fail although the first one did its work."""
    return Call(
        f"{_CATALOG}/RemoveBackup",
        catalog.RemoveBackupRequest(backup_id=backup_id),
        catalog.RemoveBackupResponse.FromString,
        lambda answer: mapping.sharings(answer.shared),
        is_repeatable=False,
    )


def _cancel_request(project_id: str, identifier: str, key: str | None) -> sharing.CancelSharingRequest:
    return sharing.CancelSharingRequest(project_id=_given(project_id), id=identifier, idempotency_key=_key(key))


def _cancelling(request: Message, read: Callable[[Any], Result]) -> Call[Result]:
    return Call(
        f"{_SHARINGS}/CancelSharing", request, sharing.CancelSharingResponse.FromString, read, is_repeatable=True
    )


def _members(which: SharingFilter) -> dict[str, Any]:
    if unknown := which.keys() - SharingFilter.__annotations__.keys():
        raise TypeError(f"there is no filter {', '.join(sorted(unknown))}")
    named: dict[str, Any] = dict(which)
    if "received" in named:
        named["share_to_me"] = named.pop("received")
    return named


def _given(project_id: str) -> str:
    if not project_id:
        raise ValueError("whose sharings? the client was made without a project")
    return project_id


def _key(given: str | None) -> str:
    if given == "":
        raise ValueError("idempotency_key is empty; expected is 1 to 255 characters, or None for a new one")
    return str(uuid.uuid4()) if given is None else given


def _present(answer: Message, name: str) -> Any:  # noqa: ANN401 -- the message in that field
    if not answer.HasField(name):
        raise DecodeError(f"{name} is missing")
    return getattr(answer, name)
