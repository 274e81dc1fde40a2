"""Adding a call, a filter and an error reason: the steps of CONTRIBUTING.md, applied to a copy, work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from backup_sharing.store.interface import SharingFilter
from backup_sharing.store.listing import count_statement
from backup_sharing.store.sqlite.reads import SQLITE
from backup_sharing.usecases.sharing import FILTERS
from backupsharing.client import SharingFilter as ClientFilter
from backupsharing.commands.sharings import count, list_
from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest, ListSharingsRequest
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, ROOT, SOURCES, Programs, environment
from tests.support.rest import Rest, assert_failure, assert_success
from tests.system.contributing import EXAMPLES, LOCKED_PROJECT, apply, steps

OWNER, RECIPIENT = "c13f5220dc1949b0b741ea81a7cd5554", "722513ed0a324dadaabe5b2d0fe848c9"
COPIED = ("protos", "server", "gateway", "docs", "tests", "Makefile", "pyproject.toml", "README.md", "SECURITY.md")
outside = pytest.mark.outside
SNAPSHOT = "5ab9aad7-1f0b-4c8f-8f6c-2c6c1c0a4b9e"


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_example_changes_the_files_the_page_names(section: str) -> None:
    assert [step.path for step in steps(section)] == list(EXAMPLES[section])


@pytest.mark.parametrize("section", EXAMPLES)
def test_what_a_step_names_is_in_its_file(section: str) -> None:
    for step in steps(section):
        text = (ROOT / step.path).read_text(encoding="utf-8")
        assert [name for name in step.names if not re.search(rf"\b{name}\b", text)] == [], step.path


def test_every_layer_knows_every_filter() -> None:
    own = {"order": {"sort_key", "sort_dir", "limit", "offset", "page_token"}, "whose": {"project_id", "share_to_me"}}
    assert {field.name for field in CountSharingsRequest.DESCRIPTOR.fields} - own["whose"] == set(FILTERS)
    assert {field.name for field in ListSharingsRequest.DESCRIPTOR.fields} - own["whose"] - own["order"] == set(FILTERS)
    assert {field.name for field in fields(SharingFilter)} - {"project_id", "received"} == set(FILTERS)
    assert ClientFilter.__annotations__.keys() - {"received"} == set(FILTERS)
    for command in (list_, count):
        assert set(FILTERS) <= {option.name for option in command.params}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_gets_into_the_statement(name: str) -> None:
    statement, parameters = count_statement(SharingFilter("p", **{name: "x"}), SQLITE)  # type: ignore[arg-type]
    assert f":{name}" in statement
    assert parameters[name] == "x"


@dataclass(frozen=True, slots=True)
class Changed:
    """Copy of this repository with all examples applied, and its demo."""

    folder: Path
    environment: Mapping[str, str]
    rest: Rest
    grpc_address: str

    def run(self, *arguments: str) -> str:
        """Run Python with the packages of the copy; return the output."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    """Apply the steps of the page to a copy."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        ignored = shutil.ignore_patterns("keystone", "interop")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    for edits in EXAMPLES.values():
        for path, of_file in edits.items():
            apply(folder / path, of_file)
    path = os.pathsep.join(str(folder / source) for source in SOURCES)
    variables = {**environment(), "PYTHONPATH": path}
    # The copy must not reinstall the installed packages.
    make = ["make", "--old-file=.venv/.dev", f"BIN={Path(sys.executable).parent}", "generate"]
    done = subprocess.run(
        make, cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listen, grpc_listen = free_address(), free_address()
    with Programs(PYTHONPATH=path) as programs:
        admin = ("--admin-listen", free_address(), "--grpc-admin-listen", free_address())
        addresses = ("--listen", listen, "--grpc-listen", grpc_listen, *admin)
        demo = programs.start("backup_sharing.admin.cli", "demo", *addresses, "--data", str(folder / "data"))
        demo.wait_for("Ctrl-C stops it")
        yield Changed(folder, variables, Rest(listen), grpc_listen)


_SHARE_WITH_A_SNAPSHOT = f"""
import sys
from backupsharing.client import Backup, Client

backup_id = "00000000-0000-4000-8000-00000000c0de"
with Client(sys.argv[1], token="demo-service") as service:
    service.put_backup(Backup(id=backup_id, project_id="{OWNER}", status="available", snapshot_id="{SNAPSHOT}"))
with Client(sys.argv[1], project="{OWNER}", token="demo-owner") as owner:
    assert not owner.has_any()
    owner.share(backup_id, ["{RECIPIENT}"])
    assert owner.has_any()
    print(owner.count(snapshot_id="{SNAPSHOT}"), owner.count(snapshot_id="another"))
"""

_FAIL = f"""
import sys
from backupsharing.client import Client, ProjectLocked

with Client(sys.argv[1], project="{LOCKED_PROJECT}", token="demo-outsider") as outsider:
    try:
        outsider.has_any()
    except ProjectLocked as failure:
        print(failure.status.name, failure.code, failure.may_be_stored)
"""


@outside
async def test_the_new_filter_and_the_new_call_work(changed: Changed) -> None:
    assert changed.run("-c", _SHARE_WITH_A_SNAPSHOT, changed.grpc_address) == "1 0\n"
    sharings = f"/v2/{OWNER}/os-vendor-backup-sharing"
    for snapshot, expected in ((SNAPSHOT, 1), ("another", 0)):
        answer = await changed.rest.call("GET", f"{sharings}/count?snapshot_id={snapshot}", token="demo-owner")
        assert assert_success(answer) == {"count": expected}
        options = ("--server", changed.grpc_address, "--project", OWNER, "--token", "demo-owner")
        command = ("-m", "backup_sharing.admin.cli", "count", "--snapshot-id", snapshot)
        assert changed.run(*command, *options) == f"{expected}\n"
    answer = await changed.rest.call("GET", f"{sharings}-any", token="demo-owner")
    assert assert_success(answer) == {"any": True}


@outside
async def test_the_new_reason_has_its_status_everywhere(changed: Changed) -> None:
    path = f"/v2/{LOCKED_PROJECT}/os-vendor-backup-sharing-any"
    answer = await changed.rest.call("GET", path, token="demo-outsider")
    assert_failure(answer, 423, "BackupSharing.0090", "The project is locked.")
    said = "FAILED_PRECONDITION BackupSharing.0090 False\n"
    assert changed.run("-c", _FAIL, changed.grpc_address) == said
    page = (changed.folder / "docs/reference/errors.md").read_text(encoding="utf-8")
    row = "| 423<br>FAILED_PRECONDITION | `PROJECT_LOCKED`<br>`BackupSharing.0090` | yes | The project is locked. |"
    assert row in page.splitlines()


@outside
def test_the_tests_of_reasons_pass_with_the_new_one(changed: Changed) -> None:
    tests = ("tests/server/rpc/test_status.py", "tests/client/test_errors.py")
    chosen = "PROJECT_LOCKED or ProjectLocked or every"
    printed = changed.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests)
    assert "no tests ran" not in printed
