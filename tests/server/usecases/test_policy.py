"""Authorization."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from backup_sharing.admin.cli import main
from backup_sharing.errors import ProjectForbidden, RoleMissing
from backup_sharing.model import Principal
from backup_sharing.usecases import policy
from backup_sharing.usecases.policy import Permission, authorize
from backupsharing.v2 import backup_access_pb2, backup_catalog_pb2, backup_sharing_pb2
from tests.server.identities import GIVER, OTHER

READ, SHARE, CATALOG = Permission.READ, Permission.SHARE, Permission.CATALOG


def who(*roles: str, project_id: str = GIVER) -> Principal:
    return Principal(project_id, frozenset(roles))


@pytest.mark.parametrize(
    ("role", "permission"),
    [("reader", SHARE), ("reader", CATALOG), ("member", CATALOG), ("admin", CATALOG), ("service", READ),
     ("service", SHARE), ("", READ), ("Member", READ), ("owner", READ)],
)  # fmt: skip
def test_a_role_that_does_not_allow_it_is_refused(role: str, permission: Permission) -> None:
    with pytest.raises(RoleMissing):
        authorize(who(role), permission, None)


@pytest.mark.parametrize(
    ("role", "permission"),
    [("reader", READ), ("member", READ), ("member", SHARE), ("admin", READ), ("admin", SHARE), ("service", CATALOG)],
)
def test_a_role_that_allows_it_is_enough(role: str, permission: Permission) -> None:
    authorize(who(role, "unknown"), permission, None)


def test_a_caller_without_roles_may_nothing() -> None:
    with pytest.raises(RoleMissing):
        authorize(who(), READ, GIVER)


def test_the_refusal_names_the_roles_that_would_do() -> None:
    with pytest.raises(RoleMissing, match="'member' or 'admin'"):
        authorize(who("reader"), SHARE, GIVER)


@pytest.mark.parametrize("role", ["reader", "member", "service"])
def test_another_project_is_refused(role: str) -> None:
    with pytest.raises(ProjectForbidden):
        authorize(who(role), READ, OTHER)


def test_another_project_is_refused_before_a_missing_role() -> None:
    with pytest.raises(ProjectForbidden):
        authorize(who("reader"), SHARE, OTHER)


def test_the_case_of_a_project_id_counts() -> None:
    with pytest.raises(ProjectForbidden):
        authorize(who("member"), READ, GIVER.upper())


def test_an_administrator_may_act_for_any_project() -> None:
    authorize(who("admin"), SHARE, OTHER)


def test_a_caller_of_no_project_is_not_of_the_empty_project() -> None:
    with pytest.raises(RoleMissing):
        authorize(who("service", project_id=""), READ, "")


def test_every_method_has_its_permission_and_no_other_has_one() -> None:
    served = [
        f"/{service.full_name}/{method.name}"
        for file in (backup_sharing_pb2.DESCRIPTOR, backup_catalog_pb2.DESCRIPTOR, backup_access_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    ]
    assert sorted(policy.METHODS) == sorted(served)


def test_a_service_without_a_policy_is_not_served() -> None:
    policy.check_served(["backupsharing.v2.BackupSharingService", *policy.SERVED_TO_ALL])
    with pytest.raises(ValueError, match=r"without a policy: grpc\.channelz\.v1\.Channelz, another$"):
        policy.check_served(["grpc.health.v1.Health", "grpc.channelz.v1.Channelz", "another"])


def test_the_policy_is_printed_whole() -> None:
    printed = CliRunner().invoke(main, ["policy"], catch_exceptions=False).output
    lines = dict(line.split(None, 1) for line in printed.splitlines() if line.startswith("/"))
    assert lines["/backupsharing.v2.BackupSharingService/ShareBackup"] == "member, admin"
    assert lines["/backupsharing.v2.BackupCatalogService/PutBackup"] == "service"
    assert set(lines) == {*policy.METHODS, *(f"/{service}/*" for service in policy.SERVED_TO_ALL)}
