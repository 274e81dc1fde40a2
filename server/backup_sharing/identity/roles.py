"""Mapping of an identity service's roles to ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_SERVICE, _ADMIN, _MEMBER = "service", "admin", "member"


@dataclass(frozen=True, slots=True)
class RoleRules:
    """Maps the roles of a token to ours.

    Two of our roles reach beyond the token's project: ``service`` writes the catalogue for all projects, ``admin``
    acts for every project. The administrator of any Keystone project can grant both roles in it, so these rules list
    the projects where the roles count.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    """Our role by the identity service's role name; a role without an entry keeps its name."""
    service_projects: Collection[str] = ()
    """Ids of the projects in which the role ``service`` counts; it is dropped in other projects."""
    admin_projects: Collection[str] = ()
    """Ids of the projects whose ``admin`` acts for every project; other projects' admins are ``member``. Empty: all."""

    service_token_roles: Collection[str] = (_SERVICE,)
    """The identity service's roles, one of which makes a token a service token."""

    def is_service(self, project_id: str, given: Collection[str]) -> bool:
        """Return whether a token of this project may be used as a service token.

        As in keystonemiddleware the role suffices, but where the projects of the role ``service`` are listed, the
        token must be of one of them.
        """
        is_listed = not self.service_projects or project_id in self.service_projects
        return is_listed and not set(given).isdisjoint(self.service_token_roles)

    def roles(self, project_id: str, given: Iterable[str]) -> frozenset[str]:
        """Return our roles for a caller of this project; equal sets are one object, as caches keep many of them."""
        roles = {self.names.get(name, name) for name in given}
        if project_id not in self.service_projects:
            roles.discard(_SERVICE)
        if _ADMIN in roles and self.admin_projects and project_id not in self.admin_projects:
            roles = (roles - {_ADMIN}) | {_MEMBER}
        return _only(frozenset(roles))


@lru_cache(maxsize=256)
def _only(roles: frozenset[str]) -> frozenset[str]:
    return roles
