"""Authorization: a table from roles to permissions, and a table from methods to permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from backup_sharing.errors import ProjectForbidden, RoleMissing
from backup_sharing.model import Principal


class Permission(Enum):
    """A permission that roles grant."""

    READ = "read"
    """List, count and get a project's sharings."""
    SHARE = "share"
    """Share a project's backups and cancel its sharings."""
    CATALOG = "catalog"
    """Maintain the backup catalogue of all projects."""
    CHECK = "check"
    """Ask which projects may read a backup, see `sees_all`."""
    EVENTS = "events"
    """Read and watch the events of a project, see `sees_all`."""


ROLES: Mapping[str, frozenset[Permission]] = {
    "reader": frozenset({Permission.READ, Permission.CHECK, Permission.EVENTS}),
    "member": frozenset({Permission.READ, Permission.SHARE, Permission.CHECK, Permission.EVENTS}),
    "admin": frozenset({Permission.READ, Permission.SHARE, Permission.CHECK, Permission.EVENTS}),
    "service": frozenset({Permission.CATALOG, Permission.CHECK, Permission.EVENTS}),
}

_ALLOWED: Mapping[Permission, frozenset[str]] = {
    permission: frozenset(role for role, permissions in ROLES.items() if permission in permissions)
    for permission in Permission
}
"""The roles that grant each permission."""

ANY_PROJECT = "admin"
"""The role that may act for a project other than its own."""

_SEE_ALL = frozenset({"admin", "service"})
"""The roles that read the events of all projects, in full, and may ask about the access of every project."""

METHODS: Mapping[str, Permission] = {
    "/backupsharing.v2.BackupSharingService/ShareBackup": Permission.SHARE,
    "/backupsharing.v2.BackupSharingService/CancelSharing": Permission.SHARE,
    "/backupsharing.v2.BackupSharingService/ListSharings": Permission.READ,
    "/backupsharing.v2.BackupSharingService/CountSharings": Permission.READ,
    "/backupsharing.v2.BackupSharingService/GetSharing": Permission.READ,
    "/backupsharing.v2.BackupCatalogService/PutBackup": Permission.CATALOG,
    "/backupsharing.v2.BackupCatalogService/GetBackup": Permission.CATALOG,
    "/backupsharing.v2.BackupCatalogService/ListBackups": Permission.CATALOG,
    "/backupsharing.v2.BackupCatalogService/RemoveBackup": Permission.CATALOG,
    "/backupsharing.v2.BackupAccessService/CheckAccess": Permission.CHECK,
    "/backupsharing.v2.BackupAccessService/BatchCheckAccess": Permission.CHECK,
    "/backupsharing.v2.BackupAccessService/ListSharingEvents": Permission.EVENTS,
    "/backupsharing.v2.BackupAccessService/WatchSharings": Permission.EVENTS,
}
"""The permission that each method requires. A method without an entry cannot be served."""

SERVED_TO_ALL: Mapping[str, str] = {
    "grpc.health.v1.Health": "whether it serves is no secret",
    "grpc.reflection.v1.ServerReflection": "what can be called is published",
    "grpc.reflection.v1alpha.ServerReflection": "what can be called is published",
    "multiplex.v1.MultiplexService": "holds no rights: each call in it passes the whole pipeline",
}
"""The only services without authentication, with the reason."""


def check_served(services: Iterable[str]) -> None:
    """Check that each service is in `METHODS` or in `SERVED_TO_ALL`.

    Raises:
        ValueError: a service is in neither.
    """
    ruled = {method.split("/")[1] for method in METHODS}
    unruled = [service for service in services if service not in ruled and service not in SERVED_TO_ALL]
    if unruled:
        raise ValueError(f"services without a policy: {', '.join(unruled)}")


def table() -> Iterator[tuple[str, str]]:
    """Yield each method or service with the roles that may call it."""
    for method, permission in METHODS.items():
        yield method, ", ".join(role for role, permissions in ROLES.items() if permission in permissions)
    for service, why in SERVED_TO_ALL.items():
        yield f"/{service}/*", f"everybody: {why}"


def sees_all(principal: Principal) -> bool:
    """Return whether the caller may read all events in full, and ask about the access of every project."""
    return not _SEE_ALL.isdisjoint(principal.roles)


def authorize(principal: Principal, permission: Permission, project_id: str | None) -> None:
    """Check that the caller may use ``permission`` on ``project_id`` (None: the call concerns no single project).

    Raises:
        ProjectForbidden: the caller belongs to another project and lacks the role `ANY_PROJECT`; for events, `sees_all`
            decides, and an empty ``project_id`` means all projects.
        RoleMissing: none of the caller's roles grants the permission.
    """
    if project_id is not None and not _may_act_for(principal, permission, project_id):
        if permission is Permission.EVENTS and not project_id:
            raise ProjectForbidden("The request has no project_id; only 'admin' and 'service' may read all events.")
        raise ProjectForbidden("The token does not belong to the project of the request.")
    if _ALLOWED[permission].isdisjoint(principal.roles):
        allowed = " or ".join(f"'{role}'" for role, permissions in ROLES.items() if permission in permissions)
        raise RoleMissing(f"The call needs the role {allowed}.")


def _may_act_for(principal: Principal, permission: Permission, project_id: str) -> bool:
    if permission is Permission.EVENTS:
        return sees_all(principal) or (bool(project_id) and principal.project_id == project_id)
    return principal.project_id == project_id or ANY_PROJECT in principal.roles
