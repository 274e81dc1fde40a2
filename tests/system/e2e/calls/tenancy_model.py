"""A model of sharings and events, and of the projects that may see them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.system import Project


@dataclass
class ActiveSharing:
    """Active sharing."""

    id: str
    backup_id: str
    giver: Project
    recipient: Project


@dataclass(frozen=True)
class Happened:
    """Expected event of a sharing or, without a recipient, of a backup."""

    kind: str
    backup_id: str
    giver: Project
    recipient: Project | None = None
    sharing_id: str | None = None

    def seen_by(self, by: Project | None) -> Seen:
        """Return the event as the project must see it: only the giver sees who acted.

        ``by``: None for a service, which sees everything.
        """
        return self.kind, self.backup_id, self.sharing_id, self.giver.id, self.to, by in (None, self.giver)

    @property
    def to(self) -> str | None:
        return self.recipient.id if self.recipient else None


Seen = tuple[str, str, str | None, str, str | None, bool]
"""Kind, backup, sharing, giver, recipient, and whether it is shown who acted."""


def seen_of(event: dict[str, str]) -> Seen:
    acted = {name for name in ("by_project_id", "by_user_id", "request_id") if name in event}
    sharing_id, to = event.get("sharing_id"), event.get("to_project_id")
    assert not acted or {"by_user_id", "request_id"} <= acted, event
    return event["kind"], event["backup_id"], sharing_id, event["from_project_id"], to, bool(acted)


@dataclass
class Model:
    """Expected sharings and events, and those visible to each project."""

    owners: dict[str, Project] = field(default_factory=dict)
    active: dict[str, ActiveSharing] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)

    def record(self, kind: str, sharing: ActiveSharing) -> None:
        about = (sharing.backup_id, sharing.giver, sharing.recipient, sharing.id)
        self.happened.append(Happened(kind, *about))

    def events(self, by: Project) -> list[Seen]:
        """Return what a project sees, the newest first."""
        return self.watched(by)[::-1]

    def watched(self, of: Project, *, by_service: bool = False) -> list[Seen]:
        """Return what a watch of a project's events receives, by the project itself or by a service, in order."""
        viewer = None if by_service else of
        return [each.seen_by(viewer) for each in self.happened if of in (each.giver, each.recipient)]

    def may_read(self, project_id: str, backup_id: str) -> str | None:
        """Return why a project may read a backup; None: it may not."""
        owner = self.owners.get(backup_id)
        if owner is not None and owner.id == project_id:
            return "OWNER"
        shared = (each for each in self.active.values() if each.recipient.id == project_id)
        return "SHARING" if any(each.backup_id == backup_id for each in shared) else None

    def told(self, by: Project, project_id: str, backup_id: str) -> str | None:
        """Return what a project is told: only about itself and about its own backups."""
        own = self.owners.get(backup_id) == by
        return self.may_read(project_id, backup_id) if own or by.id == project_id else None

    def given(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.active.values() if sharing.giver == by}

    def received(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.active.values() if sharing.recipient == by}

    def end(self, sharing_id: str) -> None:
        self.record("cancelled", self.active.pop(sharing_id))
        self.ended.append(sharing_id)

    def recipients(self, backup_id: str) -> set[Project]:
        return {sharing.recipient for sharing in self.active.values() if sharing.backup_id == backup_id}
