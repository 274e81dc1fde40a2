"""Use cases of the backup catalogue, which holds the existing backups and their owners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backup_sharing.errors import Violation
from backup_sharing.model import Backup, Micros, Page, Sharing
from backup_sharing.rules.commands import Cause, PutBackup, RemoveBackup
from backup_sharing.store.interface import Position, Store
from backup_sharing.usecases import page_token
from backup_sharing.usecases.checks import ID_LENGTH, LONG_TEXT_LENGTH, TEXT_LENGTH, Checks
from backup_sharing.usecases.sharing import Caller

TEXT_LENGTHS = {
    "volume_id": ID_LENGTH,
    "description": LONG_TEXT_LENGTH,
    "fail_reason": LONG_TEXT_LENGTH,
    "service_metadata": 65536,
}
"""Maximum characters of a backup's text fields; 255 for fields that are not listed."""

METADATA_BYTES = TEXT_LENGTHS["service_metadata"]
"""Maximum bytes of a backup's metadata in UTF-8, because metadata is the largest part of a page."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The use cases. Each raises `InvalidArgument` for invalid values, and the errors of the store's method."""

    store: Store
    clock: Callable[[], Micros]

    async def put(self, caller: Caller, backup: Backup | None, misread: Sequence[Violation] = ()) -> Backup:
        """Create or replace a backup; return it as stored. ``misread``: violations found while reading the request."""
        checks = Checks(misread)
        if backup is None:
            checks.violate("backup", "The value of backup is missing.")
            checks.done()
        checked = _checked(checks, backup or Backup("", "", ""))
        checks.done()
        return await self.store.put_backup(PutBackup(checked, self._cause(caller)))

    async def get(self, backup_id: str) -> Backup:
        """Return one backup of any project."""
        checks = Checks()
        backup_id = checks.uuid("backup_id", backup_id, "BACKUP")
        checks.done()
        return await self.store.get_backup(backup_id)

    async def list(self, project_id: str, limit: int | None, token: str) -> tuple[Page[Backup], str]:
        """Return a page of backups, of one project or of all, and the next page's token, empty on the last page."""
        checks = Checks()
        if project_id:
            checks.project_id("project_id", project_id)
        most = checks.page_size(limit)
        of = ("backups", project_id)
        after = page_token.decode(token, of, page_token.NOTHING) if token else None
        if token and after is None:
            checks.violate("page_token", "The value of page_token does not belong to this list.")
        checks.done()
        after_id = after.id if after else None
        page = await self.store.list_backups(project_id or None, most, after_id)
        return page, page_token.encode(Position(None, page.items[-1].id), of) if page.more else ""

    async def remove(self, caller: Caller, backup_id: str) -> Sequence[Sharing]:
        """Remove a backup; return the sharings that this cancels."""
        checks = Checks()
        backup_id = checks.uuid("backup_id", backup_id, "BACKUP")
        checks.done()
        return await self.store.remove_backup(RemoveBackup(backup_id, self._cause(caller)))

    def _cause(self, caller: Caller) -> Cause:
        principal = caller.principal
        return Cause(
            principal.project_id,
            principal.user_id,
            caller.request_id,
            self.clock(),
            caller.commit_by,
            caller.answer_by,
            caller.stages,
        )


def _checked(checks: Checks, backup: Backup) -> Backup:
    identifier = checks.uuid("backup.id", backup.id, "BACKUP")
    checks.project_id("backup.project_id", backup.project_id)
    checks.text("backup.status", backup.status, ID_LENGTH, required=True)
    for name, value in backup._asdict().items():
        if isinstance(value, str) and name not in ("id", "project_id", "status"):
            checks.text(f"backup.{name}", value, TEXT_LENGTHS.get(name, TEXT_LENGTH))
        elif name in ("size", "object_count") and value is not None:
            checks.number(f"backup.{name}", value, 0)
    _check_metadata(checks, backup.service_metadata or "")
    return backup._replace(id=identifier)


def _check_metadata(checks: Checks, metadata: str) -> None:
    size = len(metadata.encode())
    if size > METADATA_BYTES >= len(metadata):  # a text with too many characters is reported already
        text = f"The value of backup.service_metadata has {size} bytes; at most {METADATA_BYTES} are expected."
        checks.violate("backup.service_metadata", text)
