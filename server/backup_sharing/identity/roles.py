"""What the roles of an identity service count for here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

_SERVICE, _ADMIN, _MEMBER = "service", "admin", "member"


@dataclass(frozen=True, slots=True)
class RoleRules:
    """Turns the roles of a token into ours.

    Two of our roles reach beyond the token's own project: ``service`` writes the catalogue for all projects, ``admin``
    acts for each of them. Whoever administers some project of Keystone may give both away inside it, so the projects
    where they count are named here.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    """Our roles by the service's names; a role that is missing keeps its name."""
    service_projects: Collection[str] = ()
    """Ids of the projects in which the role ``service`` counts; it is dropped in all others."""
    admin_projects: Collection[str] = ()
    """Ids of the projects whose ``admin`` acts for every project; in others it is a ``member``. Empty: all."""

    def roles(self, project_id: str, given: Iterable[str]) -> frozenset[str]:
        """Answer the roles that a caller of this project has here."""
        roles = {self.names.get(name, name) for name in given}
        if project_id not in self.service_projects:
            roles.discard(_SERVICE)
        if _ADMIN in roles and self.admin_projects and project_id not in self.admin_projects:
            roles = (roles - {_ADMIN}) | {_MEMBER}
        return frozenset(roles)
