"""``BackupSharingService``: message → use case → message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup_sharing.errors import InvalidArgument, Violation
from backup_sharing.model import Micros
from backup_sharing.rpc import mapping
from backup_sharing.rpc.admission.turns import COST_OF_ALL, cost_of
from backup_sharing.rpc.audit import recipients, shown
from backup_sharing.rpc.pipeline import ServedMethod
from backup_sharing.rules.commands import OnConflict
from backup_sharing.usecases.sharing import (
    FILTERS,
    Caller,
    CancelRequest,
    FilterRequest,
    ListRequest,
    Recipients,
    ShareRequest,
    Sharings,
)
from backupsharing.v2 import backup_sharing_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["BackupSharingService"].full_name

_VALIDATED = {"validate_only": True}
"""Log values of a change that was only checked."""

_ON_CONFLICT = {
    pb.CONFLICT_POLICY_UNSPECIFIED: None,
    pb.CONFLICT_POLICY_REFUSE: OnConflict.REFUSE,
    pb.CONFLICT_POLICY_RETURN_STANDING: OnConflict.RETURN,
}


@dataclass(frozen=True, slots=True)
class SharingService:
    """The five documented calls over gRPC."""

    sharings: Sharings

    def methods(self) -> Sequence[ServedMethod]:
        """Return the methods of the service."""

        def project_id(
            request: pb.ShareBackupRequest
            | pb.CancelSharingRequest
            | pb.ListSharingsRequest
            | pb.CountSharingsRequest
            | pb.GetSharingRequest,
        ) -> str:
            return request.project_id

        return (
            ServedMethod(
                f"/{SERVICE}/ShareBackup", pb.ShareBackupRequest, project_id, self.share, _about_share, _cost_of_share
            ),
            ServedMethod(
                f"/{SERVICE}/CancelSharing",
                pb.CancelSharingRequest,
                project_id,
                self.cancel,
                _about_cancel,
                _cost_of_cancel,
            ),
            ServedMethod(f"/{SERVICE}/ListSharings", pb.ListSharingsRequest, project_id, self.list),
            ServedMethod(f"/{SERVICE}/CountSharings", pb.CountSharingsRequest, project_id, self.count),
            ServedMethod(f"/{SERVICE}/GetSharing", pb.GetSharingRequest, project_id, self.get),
        )

    async def share(self, caller: Caller, request: pb.ShareBackupRequest) -> pb.ShareBackupResponse:
        """Carry out ``ShareBackup``."""
        misread: list[Violation] = []
        if request.conflict_policy not in _ON_CONFLICT:
            text = f"The value of conflict_policy is incorrect: {request.conflict_policy} is no ConflictPolicy."
            misread.append(Violation("conflict_policy", text))
        shared = Recipients(request.shared.backup_id, tuple(request.shared.to_project_ids))
        given = await self.sharings.share(
            caller,
            ShareRequest(
                project_id=request.project_id,
                shared=shared if request.HasField("shared") else None,
                idempotency_key=request.idempotency_key if request.HasField("idempotency_key") else None,
                on_conflict=_ON_CONFLICT.get(request.conflict_policy),
                expires_at=_expires_at(request, misread),
                validate_only=request.validate_only,
                misread=misread,
            ),
        )
        return pb.ShareBackupResponse(shared=mapping.sharings(given))

    async def cancel(self, caller: Caller, request: pb.CancelSharingRequest) -> pb.CancelSharingResponse:
        """Carry out ``CancelSharing``."""
        ended = await self.sharings.cancel(
            caller,
            CancelRequest(
                project_id=request.project_id,
                id=request.id,
                is_backup_id=request.is_backup_id,
                idempotency_key=request.idempotency_key if request.HasField("idempotency_key") else None,
                validate_only=request.validate_only,
            ),
        )
        return pb.CancelSharingResponse(shared=mapping.sharings(ended))

    async def list(self, _: Caller, request: pb.ListSharingsRequest) -> pb.ListSharingsResponse:
        """Carry out ``ListSharings``."""
        page, token = await self.sharings.list(
            ListRequest(
                filter=_filter(request),
                sort_key=request.sort_key if request.HasField("sort_key") else None,
                sort_dir=request.sort_dir if request.HasField("sort_dir") else None,
                limit=request.limit if request.HasField("limit") else None,
                offset=request.offset if request.HasField("offset") else None,
                page_token=request.page_token,
            )
        )
        response = pb.ListSharingsResponse(next_page_token=token)
        details = mapping.DetailMapper()
        async for part in mapping.in_parts(page.items):
            details.add(part, response)
        return response

    async def count(self, _: Caller, request: pb.CountSharingsRequest) -> pb.CountSharingsResponse:
        """Carry out ``CountSharings``."""
        return pb.CountSharingsResponse(count=await self.sharings.count(_filter(request)))

    async def get(self, _: Caller, request: pb.GetSharingRequest) -> pb.GetSharingResponse:
        """Carry out ``GetSharing``."""
        found = await self.sharings.get(request.project_id, request.id)
        return pb.GetSharingResponse(shared=mapping.detail(found))


def _expires_at(request: pb.ShareBackupRequest, misread: list[Violation]) -> Micros | None:
    """Return the time when the sharings end, if the request has one; add the violation of one that is none."""
    if not request.HasField("expire_time"):
        return None
    try:
        return mapping.micros("expire_time", request.expire_time)
    except InvalidArgument as refused:
        misread += refused.violations
        return None


def _filter(request: pb.ListSharingsRequest | pb.CountSharingsRequest) -> FilterRequest:
    # An empty value means not given, over REST and gRPC alike.
    given = {field.name: value for field, value in request.ListFields() if field.name in FILTERS and value != ""}
    return FilterRequest(request.project_id, request.share_to_me, given)


def _about_share(request: pb.ShareBackupRequest) -> Mapping[str, object]:
    about: dict[str, object] = {
        "backup_id": shown(request.shared.backup_id),
        **recipients(request.shared.to_project_ids),
    }
    return about | _VALIDATED if request.validate_only else about


def _about_cancel(request: pb.CancelSharingRequest) -> Mapping[str, object]:
    about: dict[str, object] = {"backup_id" if request.is_backup_id else "sharing_id": shown(request.id)}
    return about | _VALIDATED if request.validate_only else about


def _cost_of_share(request: pb.ShareBackupRequest) -> int:
    return cost_of(len(request.shared.to_project_ids))


def _cost_of_cancel(request: pb.CancelSharingRequest) -> int:
    return COST_OF_ALL if request.is_backup_id else 1
