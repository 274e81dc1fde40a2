"""Protos for users: complete in every language, and without breaking changes since the last release."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc.code_pb2 import Code

from restmap.v1.restmap_pb2 import ReasonMapping, reason

ROOT = Path(__file__).parent.parent
IMAGE = ROOT / "protos" / "backupsharing" / "image.binpb"
RELEASED = ROOT / "protos" / "released.binpb"
PAGE = (ROOT / "docs" / "how-to" / "generate-stubs.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
COMMANDS = dict(re.findall(r"^\| (\S+) \| .* \| `((?:python|protoc) .*)` \|$", PAGE, re.MULTILINE))
NAMING_OPTIONS = {
    "csharp_namespace",
    "go_package",
    "java_multiple_files",
    "java_outer_classname",
    "java_package",
    "objc_class_prefix",
    "php_namespace",
    "ruby_package",
}


def image() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(IMAGE.read_bytes())


def ours() -> list[FileDescriptorProto]:
    return [file for file in image().file if not file.name.startswith("google/")]


def breaking(changed: FileDescriptorSet, folder: Path) -> str:
    """Run the rule of `make lint` that compares the protos with the last release; return its output."""
    rule = re.search(r"^BUF_BREAKING := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert rule is not None
    (folder / "changed.binpb").write_bytes(changed.SerializeToString())
    return subprocess.run(
        [BIN / "buf", "breaking", "changed.binpb", "--against", RELEASED, "--config", rule[1]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def named(files: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in files.file if file.name == name)


def without_a_field(files: FileDescriptorSet) -> None:
    del named(files, "backupsharing/v2/sharing.proto").message_type[0].field[4]


def with_another_field_name(files: FileDescriptorSet) -> None:
    named(files, "backupsharing/v2/sharing.proto").message_type[0].field[4].name = "recipient"


def with_another_number(files: FileDescriptorSet) -> None:
    named(files, "backupsharing/v2/sharing.proto").message_type[0].field[4].number = 99


def without_a_call(files: FileDescriptorSet) -> None:
    del named(files, "backupsharing/v2/backup_sharing.proto").service[0].method[0]


def without_a_reason(files: FileDescriptorSet) -> None:
    del named(files, "backupsharing/v2/error_reason.proto").enum_type[0].value[5]


def in_another_go_package(files: FileDescriptorSet) -> None:
    named(files, "restmap/v1/restmap.proto").options.go_package = "elsewhere.example/restmap"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (without_a_field, 'Previously present field "5" with name "to_project_id" on message "Sharing" was deleted'),
        (with_another_field_name, 'changed name from "to_project_id" to "recipient"'),
        (with_another_number, 'Previously present field "5"'),
        (without_a_call, 'Previously present RPC "ShareBackup"'),
        (without_a_reason, 'Previously present enum value "5"'),
        (in_another_go_package, 'option "go_package" changed'),
    ],
)
def test_what_breaks_a_released_client_is_noticed(
    change: Callable[[FileDescriptorSet], None], seen: str, tmp_path: Path
) -> None:
    changed = image()
    change(changed)
    assert seen in breaking(changed, tmp_path)


def test_nothing_that_is_released_is_broken(tmp_path: Path) -> None:
    assert breaking(image(), tmp_path) == ""


def reasons(files: FileDescriptorSet) -> dict[str, tuple[ReasonMapping, str]]:
    """Return each reason's option and the gRPC code at the start of its comment."""
    file = named(files, "backupsharing/v2/error_reason.proto")
    comments = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
    return {
        value.name: (value.options.Extensions[reason], re.findall(r"[A-Z_]+", comments[5, 0, 2, index])[0])
        for index, value in enumerate(file.enum_type[0].value)
        if value.number
    }


def test_a_released_reason_keeps_its_codes() -> None:
    now = reasons(image())
    for name, (was, grpc_code) in reasons(FileDescriptorSet.FromString(RELEASED.read_bytes())).items():
        option, _ = now[name]
        assert Code.Name(option.grpc_code) == grpc_code, name
        assert option.code == was.code, name
        assert was.http_status in (0, option.http_status), name
        assert option.nothing_done or not was.nothing_done, name


def test_a_new_field_breaks_nobody(tmp_path: Path) -> None:
    changed = image()
    message = named(changed, "backupsharing/v2/sharing.proto").message_type[0]
    message.field.add(name="note", json_name="note", number=99, type=9, label=1)
    assert breaking(changed, tmp_path) == ""


def test_what_google_changes_is_not_ours_to_keep(tmp_path: Path) -> None:
    changed = image()
    del named(changed, "google/rpc/error_details.proto").message_type[0].field[0]
    assert breaking(changed, tmp_path) == ""


@pytest.mark.parametrize("file", ours(), ids=lambda file: file.name)
def test_every_file_says_what_it_is_called_in_each_language(file: FileDescriptorProto) -> None:
    assert {option.name for option, _ in file.options.ListFields()} >= NAMING_OPTIONS


def test_the_image_has_its_imports_and_what_failures_carry() -> None:
    names = [file.name for file in image().file]
    for position, file in enumerate(image().file):
        assert set(file.dependency) <= set(names[:position]), file.name
    assert {"google/rpc/status.proto", "google/rpc/error_details.proto"} <= set(names)


def test_every_file_of_ours_has_comments_in_the_image() -> None:
    assert [file.name for file in ours() if not file.source_code_info.location] == []


@pytest.mark.outside
@pytest.mark.parametrize("language", COMMANDS)
def test_the_commands_of_the_readme_generate_stubs(language: str, tmp_path: Path) -> None:
    command = COMMANDS[language]
    plugins = re.findall(r"command -v (\w+)", command) + [
        f"protoc-gen-{name}" for name in re.findall(r"--(go|go-grpc|grpc-java|prost|tonic)_out", command)
    ]
    needed = [*plugins, *(["protoc"] if command.startswith("protoc") else [])]
    path = f"{BIN}:{ROOT}/build/tools/bin:/usr/local/bin:/usr/bin:/bin"
    if absent := [program for program in needed if shutil.which(program, path=path) is None]:
        pytest.skip(f"{', '.join(absent)} not installed")
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    setting = re.search(r"^IMAGE=.*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)
    assert setting is not None
    done = subprocess.run(
        ["sh", "-euc", setting[0] + command],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Rust: one file per package plus one for the clients. Other languages: at least one file per proto.
    least = 3 if language == "Rust" else 6
    assert len([made for made in (tmp_path / "stubs").rglob("*") if made.is_file()]) >= least


def test_each_language_has_a_command() -> None:
    assert {"Python", "Go", "Rust", "Java", "C++", "C#", "Ruby", "PHP", "Objective-C"} == set(COMMANDS)
