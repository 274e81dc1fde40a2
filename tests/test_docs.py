"""README and docs say what there is: every setting, command, error code and reason."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path

import pytest

import backup_sharing.config
import restmap_gateway.config
from backup_sharing.admin.cli import main
from backup_sharing.gateway_program import PROGRAM
from backupsharing.v2.error_reason_pb2 import DESCRIPTOR as ERROR_REASONS
from backupsharing.v2.error_reason_pb2 import ErrorReason
from docs.errors_page import PAGE, errors_page
from restmap.v1 import restmap_pb2

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ERRORS = PAGE.read_text(encoding="utf-8")
CHAPTERS = {"server": backup_sharing.config.Settings, "gateway": restmap_gateway.config.Settings}


def documented_settings(program: str) -> dict[str, str]:
    table = README.partition(f"| {program} | default |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.*?) \|", table, re.MULTILINE)
    return {name.replace("-", "_"): default.strip("` ") for name, default in rows}


@pytest.mark.parametrize("program", CHAPTERS)
def test_every_setting_is_in_the_readme_and_no_other(program: str) -> None:
    assert set(documented_settings(program)) == set(CHAPTERS[program].model_fields)


@pytest.mark.parametrize("program", CHAPTERS)
def test_the_documented_defaults_are_the_real_ones(program: str) -> None:
    documented = documented_settings(program)
    for name, field in CHAPTERS[program].model_fields.items():
        if not field.is_required() and field.default not in (None, [], False):
            shown = ",".join(field.default) if isinstance(field.default, list) else str(field.default)
            assert documented[name] == ("on" if field.default is True else shown), name


def test_every_reason_is_in_the_docs_beside_its_code() -> None:
    for value in ErrorReason.DESCRIPTOR.values[1:]:
        reason = value.name.removeprefix("ERROR_REASON_")
        code = value.GetOptions().Extensions[restmap_pb2.reason].code
        assert re.search(rf"`{reason}`.*`{re.escape(code)}`", ERRORS), reason


def test_every_code_of_the_gateways_own_failures_is_in_docs() -> None:
    codes = ERROR_REASONS.GetOptions().Extensions[restmap_pb2.file].failure_codes
    for _, code in codes.ListFields():
        assert f"`{code}`" in ERRORS, code


def test_the_page_of_errors_says_what_the_protos_say() -> None:
    assert errors_page() == ERRORS, "run 'make generate' and commit"


@pytest.mark.parametrize("command", main.commands)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"backup-sharing {command}" in README or command == "demo"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        assert (ROOT / target).exists(), target


IDENTITY = (ROOT / "docs" / "identity.md").read_text(encoding="utf-8")


def test_each_way_of_being_refused_has_its_test() -> None:
    table = IDENTITY.partition("## Ways to be refused")[2].partition("##")[0]
    named = set(re.findall(r"`(test_\w+)`", table))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in written] == []


@pytest.mark.parametrize("page", ["docs/identity.md", "SECURITY.md"])
def test_the_pages_name_only_settings_and_files_that_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    settings = {name.replace("_", "-") for chapter in CHAPTERS.values() for name in chapter.model_fields}
    named = {
        name
        for name in re.findall(r"--([a-z][a-z-]+)", text)
        if name not in ("name", "region", "ca", "certificate", "key")
    }
    assert named - settings == set()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("unit", sorted((ROOT / "docs" / "systemd").glob("*.service")), ids=lambda unit: unit.stem)
def test_the_units_start_programs_of_ours_with_settings_that_they_take(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, *arguments = shlex.split(command)
    load = {
        "backup-sharing-server": backup_sharing.config.load,
        "backup-sharing-gateway": partial(restmap_gateway.config.load, program=PROGRAM),
    }[Path(program).name]
    settings = load([argument.replace("%d", "/run/credentials") for argument in arguments])
    assert settings.tls_key == Path(f"/run/credentials/{unit.stem.rpartition('-')[2]}.key")
