"""Commands for people against a running server; their JSON equals the gateway's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backupsharing.v2.backup_sharing_pb2 import ShareBackupRequest
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Programs
from tests.support.stub_server import StubServer
from tests.support.system import READER_TOKEN, Project, System, new_id, write_tokens

pytestmark = pytest.mark.outside

JSON = ("--format", "json")
IDS = ("--format", "id")


class Terminal:
    """Runs commands with a project's token."""

    def __init__(self, server: str, project: Project, **variables: str) -> None:
        unset = dict.fromkeys(name for name in os.environ if name.startswith(("OS_", "BACKUP_SHARING_")))
        known = {"BACKUP_SHARING_SERVER": server, "OS_PROJECT_ID": project.id, "OS_TOKEN": project.token}
        self._variables: dict[str, str | None] = {**unset, **known, **variables}

    def run(self, *arguments: str, fails: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, env=self._variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), "a command raised an exception"
        assert result.exit_code == fails, result.output
        if token := self._variables["OS_TOKEN"]:
            assert token not in result.output
        return result

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 -- JSON
        return json.loads(self.run(*arguments, *JSON).stdout)


@pytest.fixture
def terminal(system: System, giver: Project) -> Terminal:
    return Terminal(system.grpc_address, giver)


def only_line(result: Result) -> str:
    """Return the only line of a failed command's output."""
    (line,) = result.stderr.splitlines()
    assert result.stdout == ""
    return str(line)


def test_a_failure_is_one_line_with_reason_code_and_request_id(
    terminal: Terminal, recipient: Project, backup_id: str
) -> None:
    terminal.run("share", backup_id, recipient.id)
    line = only_line(terminal.run("share", backup_id, recipient.id, fails=1))
    assert line.startswith("Error: ALREADY_SHARED BackupSharing.0002: ")
    assert recipient.id in line
    assert "(req-" in line


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("show", "01a216eb-1a85-7337-b712-0f3bde97880d"), "SHARING_NOT_FOUND"),
        (("show", "nonsense"), "SHARING_ID_MALFORMED"),
        (("cancel", "01a216eb-1a85-7337-b712-0f3bde97880d"), "SHARING_NOT_FOUND"),
        (("cancel", "--backup", "01a216eb-1a85-4337-b712-0f3bde97880d"), "BACKUP_NOT_FOUND"),
        (("share", "01a216eb-1a85-4337-b712-0f3bde97880d", "p"), "BACKUP_NOT_FOUND"),
        (("list", "--backup-id", "nonsense"), "BACKUP_ID_MALFORMED"),
        (("count", "--token", "wrong"), "TOKEN_INVALID"),
        (("count", "--project", "another"), "PROJECT_FORBIDDEN"),
    ],
)
def test_each_command_tells_why_it_failed(terminal: Terminal, command: tuple[str, ...], reason: str) -> None:
    assert f"Error: {reason} " in only_line(terminal.run(*command, fails=1))


def test_a_reader_may_not_share(system: System, backup_id: str) -> None:
    reader = Terminal(system.grpc_address, system.documented_giver, OS_TOKEN=READER_TOKEN)
    assert "ROLE_MISSING" in only_line(reader.run("share", backup_id, "p", fails=1))


def test_a_server_that_is_not_there_is_named(giver: Project) -> None:
    address = free_address()
    line = only_line(Terminal(address, giver).run("list", "--timeout", "20", fails=1))
    assert line.startswith(f"Error: {address}: UNAVAILABLE: ")


@pytest.mark.parametrize(
    "command",
    [
        ("share",),
        ("share", "backup"),
        ("cancel",),
        ("cancel", "sharing", "--backup", "backup"),
        ("show",),
        ("list", "--limit", "0"),
        ("list", "--format", "yaml"),
        ("list", "--sort-key", "colour"),
        ("list", "--timeout", "0"),
        ("count", "--format", "id"),
        ("count", "--project", ""),
        ("count", "--token", ""),
        ("count", "--server", ""),
        ("count", "--timeout", "nan"),
        ("count", "--name", "\udcff"),
        ("show", "\udcff"),
        ("share", "backup", "p\udcff"),
        ("share", "backup", "p", "--idempotency-key", ""),
        ("cancel", "sharing", "--idempotency-key", ""),
        ("list", "--limit", str(2**31)),
    ],
)
def test_wrong_usage_has_exit_code_2(terminal: Terminal, command: tuple[str, ...]) -> None:
    assert terminal.run(*command, fails=2).stderr.startswith("Usage: ")


def test_wrong_usage_is_told_before_keystone_is_asked(giver: Project) -> None:
    somebody = Terminal(
        *(free_address(), giver),
        OS_TOKEN="",
        OS_AUTH_URL=f"http://{free_address()}",
        OS_USERNAME="gina",
        OS_PASSWORD="secret",
    )
    assert "SHARING or --backup" in somebody.run("cancel", fails=2).stderr


def test_variables_that_only_look_like_options_are_left_alone(system: System, giver: Project) -> None:
    terminal = Terminal(system.grpc_address, giver, BACKUP_SHARING_VERSION="3", BACKUP_SHARING_COUNT_NAME="x")
    assert terminal.run("count").stdout == "0\n"


def test_files_for_tls_that_cannot_be_read_are_told(terminal: Terminal) -> None:
    assert "/not/there" in only_line(terminal.run("list", "--ca", "/not/there", fails=1))


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (("--key", "x"), "--certificate and --key belong together"),
        (("--certificate", "x", "--key", "y"), "--ca is missing: --certificate and --key need --ca"),
    ],
)
def test_files_for_tls_that_are_half_given_are_told_by_name(
    terminal: Terminal, options: tuple[str, ...], reported: str
) -> None:
    assert reported in terminal.run("list", *options, fails=2).stderr


def test_a_token_with_a_line_break_is_told_and_not_shown(system: System, giver: Project) -> None:
    line = only_line(Terminal(system.grpc_address, giver, OS_TOKEN="broken\nsecret").run("list", fails=1))
    assert "line break" in line
    assert "secret" not in line


def test_an_empty_list_says_so_on_standard_error(terminal: Terminal) -> None:
    result = terminal.run("list")
    assert (result.stdout, result.stderr) == ("", "No sharings.\n")
    assert terminal.json("list") == {"shared": []}


async def test_the_json_is_what_rest_answers(
    system: System, terminal: Terminal, giver: Project, recipient: Project
) -> None:
    full = {"name": "nächtlich 備份", "size": 3, "created_at": "2017-08-08T04:03:27Z", "is_incremental": False}
    backup_id = system.put_backup(giver, **full)

    async def printed(*arguments: str) -> Any:  # noqa: ANN401 -- JSON
        return await asyncio.to_thread(terminal.json, *arguments)  # a command runs an event loop of its own

    shared = await printed("share", backup_id, recipient.id, "--idempotency-key", "k")
    again = await system.share(giver, backup_id, recipient.id, Idempotency_Key="k")
    assert shared == again.json
    assert list(shared["shared"][0]) == list(again.json["shared"][0])
    identifier = shared["shared"][0]["id"]

    listed, shown = await printed("list", "--backup-id", backup_id), await printed("show", identifier)
    assert listed == (await system.list(giver, f"backup_id={backup_id}")).json
    rest = await system.rest.call("GET", f"{giver.path}/{identifier}", token=giver.token)
    assert json.dumps(shown) == json.dumps(rest.json)
    assert await printed("count", "--name", "ÄCHT") == {"count": 1}

    (ended,) = (await printed("cancel", identifier))["shared"]
    assert ended["deleted"] == "true"
    assert ended["deleted_at"] == ended["updated_at"] is not None
    assert list(ended) == list(shared["shared"][0])


def test_ids_of_one_command_are_arguments_of_the_next(
    terminal: Terminal, recipient: Project, system: System, backup_id: str
) -> None:
    ids = terminal.run("share", backup_id, recipient.id, new_id(), *IDS).stdout.split()
    assert len(ids) == 2
    assert set(terminal.run("list", *IDS).stdout.split()) == set(ids)
    assert terminal.run("list", "--limit", "1", "--sort-key", "id", "--sort-dir", "asc", *IDS).stdout.split() == ids[:1]
    assert terminal.run("cancel", ids[0], *IDS).stdout.split() == ids[:1]
    assert terminal.run("cancel", "--backup", backup_id, *IDS).stdout.split() == ids[1:]
    assert terminal.run("cancel", "--backup", backup_id).stderr == "No sharings.\n"
    assert terminal.run("count").stdout == "0\n"


def test_the_recipient_lists_and_shows_what_it_got(
    system: System, terminal: Terminal, giver: Project, recipient: Project
) -> None:
    hostile = system.put_backup(giver, name="\x1b[31mred\n", size=40)
    terminal.run("share", hostile, recipient.id)
    got = Terminal(system.grpc_address, recipient)
    titles, row = got.run("list", "--received").stdout.splitlines()
    assert titles.split() == ["SHARING", "BACKUP", "NAME", "STATUS", "GIB", "FROM", "SHARED", "(UTC)"]
    identifier, backup, name, status, size, origin, *_ = row.split()
    assert (backup, name, status, size, origin) == (hostile, "\\x1b[31mred\\n", "available", "40", giver.id)
    assert f"TO                {recipient.id}"[-40:] in got.run("show", identifier).stdout
    assert "\x1b" not in got.run("show", identifier).stdout
    assert got.run("list").stderr == "No sharings.\n"
    assert "NOT_THE_GIVER" in got.run("cancel", identifier, fails=1).stderr


def test_json_is_not_obeyed_by_a_terminal_either(
    system: System, terminal: Terminal, giver: Project, recipient: Project
) -> None:
    name = "\x9b31m\x7f\u202e\U000e0001備"
    terminal.run("share", system.put_backup(giver, name=name), recipient.id)
    printed = terminal.run("list", *JSON).stdout
    assert json.loads(printed)["shared"][0]["backup"]["name"] == name
    assert "".join(one for one in printed if not one.isprintable()).strip("\n") == ""
    assert "備" in printed


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_every_name_can_be_shown_in_any_encoding(
    system: System, terminal: Terminal, giver: Project, recipient: Project, encoding: str
) -> None:
    name = "é備\U0001f600"
    terminal.run("share", system.put_backup(giver, name=name), recipient.id)
    variables = {**os.environ, "BACKUP_SHARING_SERVER": system.grpc_address, "PYTHONIOENCODING": encoding}

    def printed(*arguments: str) -> bytes:
        program = (sys.executable, "-m", "backup_sharing.admin.cli")
        command = [*program, "list", *arguments, "--project", giver.id, "--token", giver.token]
        return subprocess.run(command, env=variables, check=True, capture_output=True, timeout=PATIENCE).stdout

    assert json.loads(printed(*JSON).decode(encoding))["shared"][0]["backup"]["name"] == name
    shown = name if encoding == "utf-8" else name.encode(encoding, "backslashreplace").decode(encoding)
    assert shown in printed().decode(encoding)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written_is_told_in_one_line(system: System, giver: Project) -> None:
    command = [sys.executable, "-m", "backup_sharing.admin.cli", "count", "--project", giver.id, "--token", giver.token]
    variables = {**os.environ, "BACKUP_SHARING_SERVER": system.grpc_address}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, env=variables, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    assert (done.returncode, done.stderr) == (1, "Error: the output cannot be written: No space left on device\n")


def test_a_change_that_may_be_done_is_reported_with_its_key(stub: StubServer, giver: Project) -> None:
    stub.fails(grpc.StatusCode.UNAVAILABLE, "gone")
    line = only_line(Terminal(stub.address, giver).run("share", "b", "p", "--timeout", "20", fails=1))
    key = ShareBackupRequest.FromString(stub.seen[-1].request).idempotency_key
    assert line.endswith(f"to make sure, repeat it with --idempotency-key {key}")


def test_standing_sharings_are_returned_on_demand(terminal: Terminal, recipient: Project, backup_id: str) -> None:
    first = terminal.run("share", backup_id, recipient.id, *IDS).stdout
    assert terminal.run("share", backup_id, recipient.id, "--on-conflict", "return", *IDS).stdout == first


def test_a_list_is_longer_than_a_page(terminal: Terminal, backup_id: str) -> None:
    terminal.run("share", backup_id, *(new_id() for _ in range(250)))
    assert len(terminal.run("list", *IDS).stdout.split()) == 250
    assert len(terminal.run("list", "--limit", "120", *IDS).stdout.split()) == 120


def test_tls_is_spoken_with_the_ca_that_is_named(programs: Programs, tmp_path: Path) -> None:
    certificates, project, address = Certificates(tmp_path), Project(new_id()), free_address()
    write_tokens(tmp_path, [project])
    certificate, key = certificates.issue("server", "127.0.0.1")
    programs.server(address, tmp_path, "--tls-certificate", str(certificate), "--tls-key", str(key))
    terminal = Terminal(address, project)
    assert terminal.run("count", "--ca", str(certificates.ca)).stdout == "0\n"
    assert Terminal(address, project, BACKUP_SHARING_CA=str(certificates.ca)).run("count").stdout == "0\n"
    line = only_line(terminal.run("count", "--timeout", "20", fails=1))
    assert "UNAVAILABLE" in line
    assert "ca (--ca) is missing" in line
