"""Use cases of the five documented calls: check the values, build one command, pass it to the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from backup_sharing.errors import InvalidArgument, Violation
from backup_sharing.model import Micros, Page, Principal, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, Cause, Idempotency, OnConflict, Share
from backup_sharing.rules.ends import wrong_end
from backup_sharing.store.interface import Position, SharingFilter, SharingOrder, SharingQuery, Slice, SortKey, Store
from backup_sharing.usecases import page_token
from backup_sharing.usecases.checks import ID_LENGTH, Checks
from programkit.stages import Stages

SORT_KEYS = {
    "created_at": SortKey.CREATED_AT,
    "updated_at": SortKey.UPDATED_AT,
    "id": SortKey.ID,
    "name": SortKey.NAME,
    "status": SortKey.STATUS,
    "size": SortKey.SIZE,
    # Documented sort keys that a backup does not have: sort by the default key.
    "container_format": SortKey.CREATED_AT,
    "disk_format": SortKey.CREATED_AT,
}


def _backup_uuid(checks: Checks, field: str, value: str) -> str:
    return checks.uuid(field, value, "BACKUP")


def _short_text(checks: Checks, field: str, value: str) -> str:
    return checks.text(field, value, ID_LENGTH)


FILTERS: Mapping[str, Callable[[Checks, str, str], str]] = {
    "backup_id": _backup_uuid,
    "from_project_id": Checks.project_id,
    "to_project_id": Checks.project_id,
    "volume_id": _short_text,
    "availability_zone": Checks.text,
    "status": _short_text,
    "name": Checks.text,
}
"""The filters of list and count with their checks, in the order in which violations are reported.

Each name is a field of the request messages and of `SharingFilter`.
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a call, with the call's time limits."""

    principal: Principal
    request_id: str
    commit_by: float | None
    """Value of ``time.monotonic()`` after which no commit may begin; None: no limit."""
    answer_by: float | None = None
    """Value of ``time.monotonic()`` by which a call whose commit has begun must return; None: no limit."""
    stages: Stages | None = field(default=None, compare=False, repr=False)
    """Receives the stages of the call; None: nobody needs them."""


@dataclass(frozen=True, slots=True)
class SharingLimits:
    """The operator's settings for sharing."""

    max_recipients: int = 1000
    """Maximum recipients of one call."""
    max_active: int = 1000
    """Maximum active sharings of one backup; 0: no limit."""
    on_conflict: OnConflict = OnConflict.REFUSE
    """Default for calls without a conflict policy."""
    key_lifetime: Micros = 24 * 3600 * 1_000_000
    """Lifetime of an idempotency key in microseconds; default 24 hours."""
    max_lifetime: Micros = 0
    """Maximum microseconds until a new sharing ends, and the default of calls without an end; 0: no limit, no end."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """The backup to share and its recipients, unchecked."""

    backup_id: str
    to_project_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class ShareRequest:
    """The request of `Sharings.share`, unchecked."""

    project_id: str
    shared: Recipients | None
    idempotency_key: str | None = None
    on_conflict: OnConflict | None = None
    expires_at: Micros | None = None
    """Time when the new sharings end; None: not given."""
    validate_only: bool = False
    misread: Sequence[Violation] = ()
    """Violations found while reading the request."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The request of `Sharings.cancel`, unchecked."""

    project_id: str
    id: str
    is_backup_id: bool = False
    idempotency_key: str | None = None
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class FilterRequest:
    """The filters of a list or count request, unchecked."""

    project_id: str
    share_to_me: bool = False
    given: Mapping[str, str] = field(default_factory=dict)
    """The given values by name, see `FILTERS`."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The request of `Sharings.list`, unchecked; None: not given."""

    filter: FilterRequest
    sort_key: str | None = None
    sort_dir: str | None = None
    limit: int | None = None
    offset: int | None = None
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class Sharings:
    """The use cases. Each raises `InvalidArgument` for invalid values, and the errors of the store's method."""

    store: Store
    limits: SharingLimits
    clock: Callable[[], Micros]
    new_id: Callable[[], str]
    """Returns a new sharing id, larger than all earlier ids."""

    async def share(self, caller: Caller, request: ShareRequest) -> Sequence[Sharing]:
        """Share a backup with all recipients or none; return the sharings in the order of the request.

        With ``validate_only``, nothing is stored, and new sharings have an empty id.
        """
        cause = self._cause(caller, request.project_id)
        late = self._wrong_end(request, cause.at)
        shared, key = self._checked(request, late)
        # The values in the request, not the effective ones: an idempotency key outlives a change of the settings. A
        # request without an end has the fingerprint of the versions that knew no end.
        asked = [request.on_conflict.value if request.on_conflict else ""]
        asked += [] if request.expires_at is None else [f"ends {request.expires_at}"]
        return await self.store.share(
            Share(
                backup_id=shared.backup_id,
                from_project_id=request.project_id,
                to_project_ids=shared.to_project_ids,
                sharing_ids=[self.new_id() for _ in shared.to_project_ids],
                on_conflict=request.on_conflict or self.limits.on_conflict,
                max_active=self.limits.max_active,
                cause=cause,
                idempotency=self._idempotency(
                    key, "ShareBackup", cause, shared.backup_id, *shared.to_project_ids, *asked
                ),
                expires_at=self._end(request, cause.at),
                # The first result of a key comes again, even when the time is over that the request names.
                unless_repeated=None if late is None else InvalidArgument([late]),
                validate_only=request.validate_only,
            )
        )

    async def cancel(self, caller: Caller, request: CancelRequest) -> Sequence[Sharing]:
        """Cancel one sharing, or all sharings of a backup; return the cancelled sharings.

        With ``validate_only``, nothing is stored.
        """
        checks = Checks()
        giver = checks.project_id("project_id", request.project_id)
        key = checks.idempotency_key("idempotency_key", request.idempotency_key)
        identifier = checks.uuid("id", request.id, "BACKUP" if request.is_backup_id else "SHARING")
        checks.done()
        cause = self._cause(caller, giver)
        kind = "backup" if request.is_backup_id else "sharing"
        idempotency = self._idempotency(key, "CancelSharing", cause, kind, identifier)
        if request.is_backup_id:
            return await self.store.cancel_all(
                CancelAll(identifier, giver, cause, idempotency, validate_only=request.validate_only)
            )
        return await self.store.cancel(
            Cancel(identifier, giver, cause, idempotency, validate_only=request.validate_only)
        )

    async def list(self, request: ListRequest) -> tuple[Page[SharingDetail], str]:
        """Return one page, and the next page's token, empty on the last page."""
        checks = Checks()
        which = _filter(checks, request.filter)
        key = checks.one_of("sort_key", request.sort_key or "created_at", tuple(SORT_KEYS))
        direction = checks.one_of("sort_dir", request.sort_dir or "desc", ("asc", "desc"))
        limit = checks.page_size(request.limit)
        offset = 0 if request.offset is None else checks.number("offset", request.offset, 0)
        order = SharingOrder(SORT_KEYS.get(key, SortKey.CREATED_AT), direction == "desc")
        after = _position(checks, request, which, order)
        checks.done()
        page = await self.store.list_sharings(SharingQuery(which, Slice(limit, offset, after), order))
        if not page.more:
            return page, ""
        return page, page_token.encode(_place(page.items[-1], order.key), (which, order))

    async def count(self, request: FilterRequest) -> int:
        """Return the number of sharings on all pages of `list`."""
        checks = Checks()
        which = _filter(checks, request)
        checks.done()
        return await self.store.count_sharings(which)

    async def get(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Return one active sharing; only its giver and its recipient can get it."""
        checks = Checks()
        project_id = checks.project_id("project_id", project_id)
        sharing_id = checks.uuid("id", sharing_id, "SHARING")
        checks.done()
        return await self.store.get_sharing(project_id, sharing_id)

    def _cause(self, caller: Caller, project_id: str) -> Cause:
        return Cause(
            project_id,
            caller.principal.user_id,
            caller.request_id,
            self.clock(),
            caller.commit_by,
            caller.answer_by,
            caller.stages,
        )

    def _checked(self, request: ShareRequest, late: Violation | None) -> tuple[Recipients, str | None]:
        """Return the checked backup and recipients, and the idempotency key.

        ``late``: what is wrong with the end of the sharings. A request with a key may be a repetition, so this alone
        does not refuse it.
        """
        checks = Checks(request.misread)
        giver = checks.project_id("project_id", request.project_id)
        key = checks.idempotency_key("idempotency_key", request.idempotency_key)
        if request.shared is None:
            checks.violate("shared", "The value of shared is missing; an object is expected.")
            checks.done()
        shared = request.shared or Recipients("", ())
        backup_id = checks.uuid("shared.backup_id", shared.backup_id, "BACKUP")
        recipients = checks.recipients(
            "shared.to_project_ids", shared.to_project_ids, giver, self.limits.max_recipients
        )
        if late is not None and (key is None or checks.has_violations):
            checks.add(late)
        checks.done()
        return Recipients(backup_id, recipients), key

    def _wrong_end(self, request: ShareRequest, now: Micros) -> Violation | None:
        if request.expires_at is None:
            return None
        return wrong_end(request.expires_at, now, self.limits.max_lifetime)

    def _end(self, request: ShareRequest, now: Micros) -> Micros | None:
        if request.expires_at is None and self.limits.max_lifetime:
            return now + self.limits.max_lifetime
        return request.expires_at

    def _idempotency(self, key: str | None, method: str, cause: Cause, *asked: str) -> Idempotency | None:
        if key is None:
            return None
        fingerprint = hashlib.sha256("\n".join(asked).encode()).digest()
        return Idempotency(key, method, fingerprint, cause.at + self.limits.key_lifetime)


def _filter(checks: Checks, request: FilterRequest) -> SharingFilter:
    project_id = checks.project_id("project_id", request.project_id)
    given = {name: check(checks, name, request.given[name]) for name, check in FILTERS.items() if name in request.given}
    return SharingFilter(project_id, request.share_to_me, **given)


_PLACES = {
    SortKey.CREATED_AT: page_token.NUMBER,
    SortKey.UPDATED_AT: page_token.NUMBER | page_token.NOTHING,
    SortKey.ID: page_token.TEXT,
    SortKey.NAME: page_token.TEXT | page_token.NOTHING,
    SortKey.STATUS: page_token.TEXT,
    SortKey.SIZE: page_token.NUMBER | page_token.NOTHING,
}
"""Types of an item's value for each sort key."""


def _position(checks: Checks, request: ListRequest, which: SharingFilter, order: SharingOrder) -> Position | None:
    of = (which, order)
    position = page_token.position(checks, request.page_token, request.offset, of, _PLACES[order.key])
    if position is not None and order.key is SortKey.ID and position.value != position.id:
        page_token.refuse(checks)
    return position


def _place(detail: SharingDetail, key: SortKey) -> Position:
    sharing, backup = detail.sharing, detail.backup
    values: dict[SortKey, str | int | None] = {
        SortKey.CREATED_AT: sharing.created_at,
        SortKey.UPDATED_AT: sharing.updated_at,
        SortKey.ID: sharing.id,
        SortKey.NAME: backup.name,
        SortKey.STATUS: backup.status,
        SortKey.SIZE: backup.size,
    }
    return Position(values[key], sharing.id)
