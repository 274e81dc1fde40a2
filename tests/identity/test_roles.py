"""Rules that map the roles of an identity service to the roles of this service."""

from __future__ import annotations

import pytest

from backup_sharing.identity.roles import RoleRules


@pytest.mark.parametrize("given", [["service"], ["vbs_service"], ["service", "vbs_service"]])
def test_nobody_of_any_project_has_the_role_service(given: list[str]) -> None:
    rules = RoleRules({"vbs_service": "service"}, service_projects=["ops"])
    assert rules.roles("shop", given) == set()
    assert rules.roles("ops", given) == {"service"}
    assert RoleRules({"vbs_service": "service"}).roles("ops", given) == set()


def test_any_admin_is_admin_unless_projects_are_named() -> None:
    assert RoleRules().roles("shop", ["admin", "reader"]) == {"admin", "reader"}


def test_an_admin_of_a_project_that_is_not_named_is_a_member() -> None:
    rules = RoleRules({"boss": "admin"}, admin_projects=["ops"])
    assert rules.roles("shop", ["boss", "reader"]) == {"member", "reader"}
    assert rules.roles("ops", ["boss", "reader"]) == {"admin", "reader"}
    assert rules.roles("shop", ["reader"]) == {"reader"}


def test_roles_of_no_meaning_here_keep_their_names() -> None:
    assert RoleRules().roles("shop", ["heat_stack_owner"]) == {"heat_stack_owner"}


def test_equal_roles_of_many_tokens_are_one_set() -> None:
    rules = RoleRules()
    assert rules.roles("shop", ["member", "reader"]) is rules.roles("ops", ["reader", "member"])
