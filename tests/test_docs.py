"""README and docs match the code: every setting, command, error code, reason, file and link."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
from google.protobuf.descriptor import Descriptor
from markdown.extensions.toc import slugify

import backup_sharing.config
import restmap_gateway.config
from backup_sharing.admin.cli import main
from backup_sharing.gateway_program import PROGRAM
from backupsharing.v2.error_reason_pb2 import DESCRIPTOR as ERROR_REASONS
from backupsharing.v2.error_reason_pb2 import ErrorReason
from docs import generate
from restmap.reasons import reasons_of
from restmap.v1 import restmap_pb2

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
ERRORS = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
COMMAND_LINE = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
CHAPTERS = {"server": backup_sharing.config.Settings, "gateway": restmap_gateway.config.Settings}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("[gpe]*/README.md"), ROOT / "bench/NOTES.md")
)
REASONS = reasons_of(ErrorReason.DESCRIPTOR)
SOURCES = "server|gateway|protos|tests|docs|bench|examples"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", generate.PAGE_MAKERS)
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert generate.PAGE_MAKERS[name]() == (generate.PAGES / name).read_text(encoding="utf-8"), "run 'make docs'"


def documented_settings(program: str) -> dict[str, str]:
    table = SETTINGS.partition(f"## backup-sharing-{program}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.*?) \|", table, re.MULTILINE)
    return {name.replace("-", "_"): default.strip("` ") for name, default in rows}


@pytest.mark.parametrize("program", CHAPTERS)
def test_every_setting_is_documented_and_no_other(program: str) -> None:
    assert set(documented_settings(program)) == set(CHAPTERS[program].model_fields)


@pytest.mark.parametrize("program", CHAPTERS)
def test_the_documented_defaults_are_the_real_ones(program: str) -> None:
    documented = documented_settings(program)
    for name, field in CHAPTERS[program].model_fields.items():
        if not field.is_required() and field.default not in (None, [], False):
            shown = ",".join(field.default) if isinstance(field.default, list) else str(field.default)
            shown = shown.removesuffix(".0")
            assert documented[name] == ("on" if field.default is True else shown), name


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_documented_beside_its_code(reason: str) -> None:
    assert f"`{reason}`<br>`{REASONS[reason].code}`" in ERRORS


@pytest.mark.parametrize("reason", REASONS)
def test_the_proto_comment_names_the_grpc_code(reason: str) -> None:
    """A reason's proto comment begins with the gRPC code of the reason's option."""
    proto = text_of("protos/backupsharing/v2/error_reason.proto")
    comment = re.search(rf"\n\n((?:  //.*\n)+)  ERROR_REASON_{reason} ", proto)
    assert comment is not None
    assert comment[1].strip().startswith(f"// {REASONS[reason].grpc_code.name}")


def test_every_code_of_the_gateways_own_failures_is_documented() -> None:
    codes = ERROR_REASONS.GetOptions().Extensions[restmap_pb2.file].failure_codes
    for _, code in codes.ListFields():
        assert f"`{code}`" in ERRORS, code


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.mark.parametrize("name", [name for name, _ in leaves(main)])
def test_every_command_is_documented(name: str) -> None:
    assert f"## backup-sharing {name}\n" in COMMAND_LINE


def options_of(message: Descriptor) -> list[str]:
    return [field.name for field in message.fields]


RESTMAP = [
    restmap_pb2.MessageMapping,
    restmap_pb2.FieldMapping,
    restmap_pb2.MethodMapping,
    restmap_pb2.FileMapping,
    restmap_pb2.ReasonMapping,
]


@pytest.mark.parametrize("name", sorted({name for mapping in RESTMAP for name in options_of(mapping.DESCRIPTOR)}))
def test_every_restmap_option_is_documented(name: str) -> None:
    assert re.search(rf"^\|[^|]*\| `{name}` \|", text_of("docs/reference/restmap.md"), re.MULTILINE)


ALIEN_FLAGS = {
    *("help", "name", "descriptor_set_out", "include_imports", "include_source_info", "go_opt"),
    *("grpc_out", "all"),
}
"""Flags of other programs that pages mention."""


@pytest.mark.parametrize("page", [page for page in PAGES if "reference/command-line" not in page])
def test_pages_name_only_settings_that_exist(page: str) -> None:
    known = {name.replace("_", "-") for chapter in CHAPTERS.values() for name in chapter.model_fields}
    for _, command in leaves(main):
        known |= {option.lstrip("-") for parameter in command.params for option in parameter.opts}
    known |= {f"no-{name}" for name in known} | ALIEN_FLAGS
    code = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL))
    ours = [one for one in code if not re.match(r"make |protoc |python |(bench|tests)\b", one)]
    found = {name for one in ours for name in re.findall(r"(?<![\w-])--([a-z][a-z_-]+)", one)}
    assert found - known - set(BENCH_FLAGS.get(page, ())) == set()


BENCH_FLAGS = {
    "bench/NOTES.md": ("only", "full", "against"),
    "CONTRIBUTING.md": ("against",),
    "docs/reference/clients.md": ("break",),
}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    """A folder's path ends with a slash; paths in link texts and images count too."""
    paths = re.findall(rf"(?<![\w./-])((?:{SOURCES})/[\w./*-]*\w/?)", text_of(page))
    absent = [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]
    assert absent == []


def targets(page: str) -> list[tuple[Path, str]]:
    """Return file and anchor of every link of a page into this repository."""
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL))
    ours = [link.partition("#") for link in links if not re.match(r"[a-z]+:", link)]
    return [((ROOT / page).parent / path if path else ROOT / page, anchor) for path, _, anchor in ours]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for path, anchor in targets(page):
        assert path.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slugify(title.replace("`", ""), "-") for title in titles}, f"{path}#{anchor}"


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(README.splitlines()) <= 130


PARTS = {
    "server/backup_sharing/rules/decisions.py": "raise AlreadyShared",
    "server/backup_sharing/store/sqlite/changes.py": "INSERT",
    "server/backup_sharing/store/postgres/changes.py": "INSERT INTO sharings",
    "server/backup_sharing/rpc/status.py": "def of_failure",
    "protos/backupsharing/v2/error_reason.proto": "ERROR_REASON_ALREADY_SHARED",
    "gateway/restmap_gateway/transcode/failures.py": "ALREADY_EXISTS: 409",
    "protos/backupsharing/v2/backup_sharing.proto": '{header: "x-auth-token"}',
    "server/backup_sharing/config.py": "on_conflict:",
}
"""Each file in the README's walk through a conflicting share, with a text that the file must contain."""


@pytest.mark.parametrize("path", PARTS)
def test_the_readme_names_the_file_of_each_step(path: str) -> None:
    assert path in README
    assert PARTS[path] in text_of(path)


AUTHENTICATION = text_of("docs/reference/authentication.md")


def test_each_way_of_being_refused_has_its_test() -> None:
    table = AUTHENTICATION.partition("## Ways to be refused")[2].partition("##")[0]
    named = set(re.findall(r"`(test_\w+)`", table))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in written] == []


@pytest.mark.parametrize("unit", sorted((DOCS / "systemd").glob("*.service")), ids=lambda unit: unit.stem)
def test_units_start_our_programs_with_settings_they_take(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, option, config = shlex.split(command)
    assert (option, config) == ("--config", "/etc/backup-sharing/backup-sharing.toml")
    written = re.search(rf"^cat > {config} <<'END'\n(.*?)^END$", text_of("docs/operation/index.md"), re.M | re.S)
    assert written
    (tmp_path / "backup-sharing.toml").write_text(written[1], encoding="utf-8")
    load = {
        "backup-sharing-server": backup_sharing.config.load,
        "backup-sharing-gateway": partial(restmap_gateway.config.load, program=PROGRAM),
    }[Path(program).name]
    settings = load([option, str(tmp_path / "backup-sharing.toml")])
    assert settings.tls_key == Path(f"/etc/backup-sharing/{unit.stem.rpartition('-')[2]}.key")
