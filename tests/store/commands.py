"""Valid commands and values for the store's tests; a test overrides single members by keyword."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from uuid import uuid4

from backup_sharing.model import Backup, Page, SharingDetail
from backup_sharing.rules.commands import (
    Cancel,
    CancelAll,
    Cause,
    Idempotency,
    OnConflict,
    PutBackup,
    RemoveBackup,
    Share,
)
from backup_sharing.store.interface import (
    EventFilter,
    Position,
    SharingFilter,
    SharingOrder,
    SharingQuery,
    Slice,
    SortKey,
    Store,
)

GIVER = "a" * 32
RECIPIENT = "b" * 32
OTHER = "c" * 32
STRANGER = "d" * 32
BACKUP_ID = "00000000-0000-4000-8000-000000000001"
NOW = 1_700_000_000_000_000
SECOND = 1_000_000


def cause(at: int = NOW, project_id: str = GIVER, commit_by: float | None = None) -> Cause:
    answer_by = None if commit_by is None else commit_by + 0.8
    return Cause(project_id, "someone", "req-1", at, commit_by, answer_by)


def backup(id: str = BACKUP_ID, project_id: str = GIVER, status: str = "available", **members: object) -> Backup:
    return Backup(id=id, project_id=project_id, status=status, **members)  # type: ignore[arg-type]  # keyword members


def key(
    name: str = "key", fingerprint: bytes = b"same", method: str = "Method", expires_at: int | None = None
) -> Idempotency:
    return Idempotency(name, method, fingerprint, NOW + 60 * SECOND if expires_at is None else expires_at)


def share(
    *to_project_ids: str,
    backup_id: str = BACKUP_ID,
    giver: str = GIVER,
    sharing_ids: Sequence[str] | None = None,
    on_conflict: OnConflict = OnConflict.REFUSE,
    max_active: int = 0,
    because: Cause | None = None,
    idempotency: Idempotency | None = None,
    expires_at: int | None = None,
    validate_only: bool = False,
) -> Share:
    to = to_project_ids or (RECIPIENT,)
    ids = [str(uuid4()) for _ in to] if sharing_ids is None else sharing_ids
    return Share(
        backup_id,
        giver,
        to,
        ids,
        on_conflict,
        max_active,
        because or cause(),
        idempotency,
        expires_at,
        validate_only=validate_only,
    )


def cancel(
    sharing_id: str,
    project_id: str = GIVER,
    because: Cause | None = None,
    idempotency: Idempotency | None = None,
    *,
    validate_only: bool = False,
) -> Cancel:
    return Cancel(sharing_id, project_id, because or cause(NOW + SECOND), idempotency, validate_only)


def cancel_all(
    backup_id: str = BACKUP_ID,
    project_id: str = GIVER,
    because: Cause | None = None,
    idempotency: Idempotency | None = None,
    *,
    validate_only: bool = False,
) -> CancelAll:
    return CancelAll(backup_id, project_id, because or cause(NOW + SECOND), idempotency, validate_only)


def given(**members: object) -> SharingFilter:
    return SharingFilter(project_id=GIVER, **members)  # type: ignore[arg-type]  # keyword members


def page(
    filter: SharingFilter | None = None,
    *,
    key: SortKey = SortKey.CREATED_AT,
    descending: bool = True,
    limit: int = 1000,
    offset: int = 0,
    after: Position | None = None,
) -> SharingQuery:
    return SharingQuery(filter or given(), Slice(limit, offset, after), SharingOrder(key, descending))


def every_call(store: Store) -> Sequence[Awaitable[object]]:
    """Return one valid call of each method."""
    return (
        store.share(share()),
        store.cancel(cancel("1")),
        store.cancel_all(cancel_all()),
        store.get_sharing(GIVER, "1"),
        store.list_sharings(page()),
        store.count_sharings(given()),
        store.put_backup(PutBackup(backup(), cause())),
        store.get_backup(BACKUP_ID),
        store.list_backups(None, 1, None),
        store.check_access([(BACKUP_ID, RECIPIENT)]),
        store.log_bounds(),
        store.events_after(0, 1),
        store.list_events(EventFilter(), 1, 0, None, descending=True),
        store.remove_backup(RemoveBackup(BACKUP_ID, cause())),
        store.time(),
        store.old_events(NOW, 1),
        store.old_sharings(NOW, 1),
        store.purge_events(NOW, 1),
        store.purge_sharings(NOW, 1),
        store.ping(),
    )


def recipients(listed: Page[SharingDetail]) -> list[str]:
    return [detail.sharing.to_project_id for detail in listed.items]


def backup_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def project_id(number: int) -> str:
    return f"{number:032x}"
