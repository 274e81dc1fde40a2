"""The calls of BackupAccessService: access checks, history, and the messages of a watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from backupsharing.client import mapping
from backupsharing.client.calls import Call, Page
from backupsharing.client.model import Access, EventFilter, EventKind, SharingEvent, SortDir
from backupsharing.v2 import backup_access_pb2 as pb

SERVICE = "/backupsharing.v2.BackupAccessService"


def check_access(backup_id: str, project_id: str) -> Call[Access]:
    """Ask whether a project may read a backup."""
    return Call(
        f"{SERVICE}/CheckAccess",
        pb.CheckAccessRequest(backup_id=backup_id, project_id=project_id),
        pb.CheckAccessResponse.FromString,
        lambda answer: mapping.access(answer, answer.cursor),
        is_repeatable=True,
    )


def check_access_many(pairs: Iterable[tuple[str, str]]) -> Call[tuple[Access, ...]]:
    """Ask for several pairs of backup and project."""
    checks = [pb.CheckAccessRequest(backup_id=backup_id, project_id=project_id) for backup_id, project_id in pairs]

    def read(answer: pb.BatchCheckAccessResponse) -> tuple[Access, ...]:
        if len(answer.results) != len(checks):
            raise ValueError(f"{len(answer.results)} answers to {len(checks)} questions")
        return tuple(mapping.access(one, answer.cursor) for one in answer.results)

    return Call(
        f"{SERVICE}/BatchCheckAccess",
        pb.BatchCheckAccessRequest(checks=checks),
        pb.BatchCheckAccessResponse.FromString,
        read,
        is_repeatable=True,
    )


def history(
    project_id: str, which: EventFilter, sort_dir: SortDir | None, page_size: int
) -> Callable[[str], Call[Page[SharingEvent]]]:
    """Return a function that builds the call for the page of events with a given token.

    Raises:
        TypeError: there is no such filter.
        ValueError: a time has no time zone.
    """
    request = pb.ListSharingEventsRequest(
        project_id=project_id, sort_dir=sort_dir, limit=page_size, **_event_members(which)
    )

    def page(token: str) -> Call[Page[SharingEvent]]:
        asked = pb.ListSharingEventsRequest()
        asked.CopyFrom(request)
        asked.page_token = token
        return Call(
            f"{SERVICE}/ListSharingEvents",
            asked,
            pb.ListSharingEventsResponse.FromString,
            lambda answer: Page([mapping.event(one) for one in answer.events], answer.next_page_token),
            is_repeatable=True,
        )

    return page


def newest_cursor(project_id: str) -> Call[str]:
    """Ask for the place of the newest event: a watch from there gets every later event."""

    def read(answer: pb.ListSharingEventsResponse) -> str:
        if not answer.cursor:
            raise ValueError("the cursor is missing")
        return answer.cursor

    return Call(
        f"{SERVICE}/ListSharingEvents",
        pb.ListSharingEventsRequest(project_id=project_id, limit=1),
        pb.ListSharingEventsResponse.FromString,
        read,
        is_repeatable=True,
    )


def watch(
    project_id: str, cursor: str | None, backup_id: str | None, kind: EventKind | None
) -> Call[tuple[str, SharingEvent | None]]:
    """Watch events; without a cursor, from the beginning. A response is a cursor and, if it has one, its event."""

    def read(answer: pb.WatchSharingsResponse) -> tuple[str, SharingEvent | None]:
        event = mapping.event(answer.event) if answer.HasField("event") else None
        return answer.cursor, event

    return Call(
        f"{SERVICE}/WatchSharings",
        pb.WatchSharingsRequest(
            project_id=project_id,
            cursor=cursor,
            from_beginning=True if cursor is None else None,
            backup_id=backup_id,
            kind=kind,
        ),
        pb.WatchSharingsResponse.FromString,
        read,
        is_repeatable=True,
    )


def _event_members(which: EventFilter) -> dict[str, Any]:
    if unknown := which.keys() - EventFilter.__annotations__.keys():
        raise TypeError(f"unknown filter: {', '.join(sorted(unknown))}")
    return {
        name: mapping.timestamp(name, value) if isinstance(value, datetime) else value for name, value in which.items()
    }
