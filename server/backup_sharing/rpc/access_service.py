"""``BackupAccessService`` except its watch: message → use case → message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from backup_sharing.errors import InvalidArgument, Violation
from backup_sharing.model import Micros
from backup_sharing.rpc import events, mapping
from backup_sharing.rpc.pipeline import ServedMethod
from backup_sharing.usecases.access import Accesses, Question, Verdict
from backup_sharing.usecases.history import EVENT_FILTERS, EventsRequest, History
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_access_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["BackupAccessService"].full_name


@dataclass(frozen=True, slots=True)
class AccessService:
    """Access checks and the history over gRPC."""

    accesses: Accesses
    history: History

    def methods(self) -> Sequence[ServedMethod]:
        """Return the methods of the service. Access checks concern no single project; the use case decides."""

        def project_id(request: pb.ListSharingEventsRequest) -> str:
            return request.project_id

        return (
            ServedMethod(f"/{SERVICE}/CheckAccess", pb.CheckAccessRequest, None, self.check),
            ServedMethod(f"/{SERVICE}/BatchCheckAccess", pb.BatchCheckAccessRequest, None, self.check_all),
            ServedMethod(f"/{SERVICE}/ListSharingEvents", pb.ListSharingEventsRequest, project_id, self.list_events),
        )

    async def check(self, caller: Caller, request: pb.CheckAccessRequest) -> pb.CheckAccessResponse:
        """Carry out ``CheckAccess``."""
        found = await self.accesses.check(caller.principal, Question(request.backup_id, request.project_id))
        response = _answer(found.answers[0])
        response.cursor = found.cursor
        return response

    async def check_all(self, caller: Caller, request: pb.BatchCheckAccessRequest) -> pb.BatchCheckAccessResponse:
        """Carry out ``BatchCheckAccess``."""
        questions = [Question(check.backup_id, check.project_id) for check in request.checks]
        found = await self.accesses.check_all(caller.principal, questions)
        response = pb.BatchCheckAccessResponse(cursor=found.cursor)
        async for part in mapping.in_parts(found.answers):
            response.results.extend(map(_answer, part))
        return response

    async def list_events(self, caller: Caller, request: pb.ListSharingEventsRequest) -> pb.ListSharingEventsResponse:
        """Carry out ``ListSharingEvents``."""
        page = await self.history.list(caller.principal, _events_request(request))
        response = pb.ListSharingEventsResponse(next_page_token=page.next_page_token, cursor=page.cursor)
        async for part in mapping.in_parts(page.items):
            response.events.extend(events.message(page.store_id, each, page.viewer) for each in part)
        return response


def _answer(verdict: Verdict) -> pb.CheckAccessResponse:
    if verdict.owner_project_id is None:
        return pb.CheckAccessResponse()
    response = pb.CheckAccessResponse(
        allowed=True, basis=pb.ACCESS_BASIS_OWNER, owner_project_id=verdict.owner_project_id
    )
    if verdict.sharing is not None:
        response.basis, response.sharing_id = pb.ACCESS_BASIS_SHARING, verdict.sharing.id
        if verdict.sharing.expires_at is not None:
            response.expire_time.CopyFrom(mapping.timestamp(verdict.sharing.expires_at))
    return response


def _events_request(request: pb.ListSharingEventsRequest) -> EventsRequest:
    # An empty value means not given, over REST and gRPC alike.
    given = {field.name: value for field, value in request.ListFields() if field.name in EVENT_FILTERS and value != ""}
    misread: list[Violation] = []

    def time(name: str) -> Micros | None:
        return _micros(name, getattr(request, name), misread) if request.HasField(name) else None  # type: ignore[arg-type]

    return EventsRequest(
        project_id=request.project_id,
        given=given,
        since=time("start_time"),
        before=time("end_time"),
        sort_dir=request.sort_dir if request.HasField("sort_dir") else None,
        limit=request.limit if request.HasField("limit") else None,
        offset=request.offset if request.HasField("offset") else None,
        page_token=request.page_token,
        misread=misread,
    )


def _micros(field: str, time: Timestamp, misread: list[Violation]) -> Micros | None:
    """Return a time rounded up, as events have whole microseconds; add a violation for an impossible time."""
    try:
        whole = mapping.micros(field, time)
    except InvalidArgument as refused:
        misread += refused.violations
        return None
    return whole + (time.nanos % 1000 != 0)
