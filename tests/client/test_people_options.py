"""Options of the commands: plain text is refused before anything is sent, and failures are sentences."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.importing import import_
from backupsharing.commands.program import main
from tests.support.ports import free_address

CALLER = ("--project", "p", "--token", "s3cret")


def run(*arguments: str, **variables: str) -> Result:
    unset = dict.fromkeys(name for name in os.environ if name.startswith(("OS_", "BACKUP_SHARING_")))
    return CliRunner().invoke(main, arguments, env={**unset, **variables})


@pytest.mark.parametrize("command", [("list",), ("count",), ("show", "x"), ("cancel", "x"), ("share", "b", "p")])
def test_plain_text_to_another_machine_is_a_usage_error(command: tuple[str, ...]) -> None:
    result = run(*command, *CALLER, "--server", "sharing.invalid:50051")
    assert result.exit_code == 2
    assert "--ca is missing" in result.output
    assert "--insecure allows that" in result.output
    assert "s3cret" not in result.output


@pytest.mark.parametrize("allowed", [("--insecure",), ()])
def test_plain_text_can_be_allowed(allowed: tuple[str, ...]) -> None:
    variables = {} if allowed else {"BACKUP_SHARING_INSECURE": "true"}
    result = run("count", *CALLER, *allowed, "--server", "sharing.invalid:50051", "--timeout", "5", **variables)
    assert result.exit_code == 1
    assert "cannot be resolved" in result.output


def test_an_import_sends_no_token_in_plain_text_either() -> None:
    arguments = (os.devnull, "--server", "sharing.invalid:50051", "--token", "s3cret")
    result = CliRunner().invoke(import_, arguments, env={"BACKUP_SHARING_INSECURE": None})
    assert (result.exit_code, "--ca is missing" in result.output) == (2, True)


def test_where_nothing_listens_is_one_plain_line() -> None:
    address = free_address()
    result = run("count", *CALLER, "--server", address, "--timeout", "5")
    (line,) = result.output.splitlines()
    assert line == f"Error: {address}: UNAVAILABLE: Nothing listens at {address}: the connection was refused."


def test_what_libraries_log_is_not_on_the_terminal() -> None:
    noisy = (
        "import logging; from backupsharing.commands.program import main;"
        "main.command('noisy')(lambda: logging.getLogger('library').warning('noise')); main(['noisy'])"
    )
    done = subprocess.run([sys.executable, "-c", noisy], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
