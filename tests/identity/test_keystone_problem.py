"""The check of Keystone by ``backup-sharing doctor``."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_sharing.config import Settings
from backup_sharing.identity.configured import keystone_problem
from tests.identity.keystone_stub import KeystoneStub, answering, hanging_up, redirecting


async def problem(stub: KeystoneStub, **settings: object) -> str:
    given = {"database": "s.db", "keystone_url": stub.url, "insecure": True, **settings}
    return await keystone_problem(Settings(**given))  # type: ignore[arg-type]  # names of settings


async def test_a_keystone_that_answers_is_no_problem(stub: KeystoneStub) -> None:
    assert await problem(stub) == ""


@pytest.mark.parametrize("trouble", [hanging_up, redirecting, answering(500, {}), answering(200, b"<html>")])
async def test_a_keystone_in_trouble_is_described(stub: KeystoneStub, trouble: object) -> None:
    stub.trouble = trouble  # type: ignore[assignment]
    assert await problem(stub) != ""


def user(stub: KeystoneStub, file: Path, password: str) -> dict[str, object]:
    """Return the settings of the service user, with a password in a file."""
    file.write_text(password)
    return {"keystone_user": stub.user, "keystone_project": "service", "keystone_password_file": file}


async def test_a_service_user_that_cannot_log_in_is_described(stub: KeystoneStub, tmp_path: Path) -> None:
    assert await problem(stub, **user(stub, tmp_path / "password", stub.password)) == ""
    found = await problem(stub, **user(stub, tmp_path / "password", "wrong"))
    assert "login" in found
    assert "wrong" not in found
