"""Writes man pages and shell completions of the programs into build/, from the declarations that also make ``--help``.

``python -m docs.manual [FOLDER]``; ``make docs`` runs it. Needs no program to be started.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click_man.core
import shtab
from argparse_manpage.manpage import Manpage
from click.shell_completion import get_completion_class

from backup_sharing.admin.cli import main as commands
from backup_sharing.admin.settings import models
from programkit.settings import ProgramSettings
from programkit.settings.command_line import Parser, source_of
from programkit.settings.loading import parser_of

COMMAND: Final = "backup-sharing"
_FILES: Final = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}
"""Name of a completion file in the folder that each shell searches."""


def parser(model: type[ProgramSettings]) -> Parser:
    """Return the parser of a program, with the choices and files that a shell can complete."""
    filled = parser_of(model)
    source_of(model, filled)
    settings = {setting.name: setting for setting in model.described()}
    for action in filled._actions:
        setting = settings.get(action.dest)
        if setting and setting.choices:
            action.choices = setting.choices
        elif setting and (setting.kind is Path or "FILE" in setting.metavar):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # the attribute that shtab reads
    return filled


def man_page(of: Parser, about: str) -> str:
    """Return the man page of a program."""
    data = {
        "project_name": COMMAND,
        "version": version(COMMAND),
        "manual_section": 8,
        "manual_title": "System administration",
        "description": about.rstrip("."),
    }
    return str(Manpage(of, data))


def completions(of: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Yield the name of each shell, and the script that completes a program's options."""
    for shell in _FILES:
        yield shell, shtab.complete(of, shell)


def _completions_of_commands() -> Iterator[tuple[str, str]]:
    for shell in _FILES:
        of_shell = get_completion_class(shell)
        assert of_shell is not None, shell  # noqa: S101 -- click has all of them
        variable = f"_{COMMAND.replace('-', '_').upper()}_COMPLETE"
        yield shell, of_shell(commands, {}, COMMAND, variable).source()


def write(folder: Path) -> None:
    """Write all man pages and completions into ``man`` and ``completions`` below a folder."""
    manual = folder / "man"
    manual.mkdir(parents=True, exist_ok=True)
    click_man.core.write_man_pages(COMMAND, commands, version=version(COMMAND), target_dir=str(manual))
    scripts = [(COMMAND, *one) for one in _completions_of_commands()]
    for model in models().values():
        of = parser(model)
        (manual / f"{of.prog}.8").write_text(man_page(of, of.description or ""), encoding="utf-8")
        scripts += [(of.prog, *one) for one in completions(of)]
    for program, shell, script in scripts:
        path = folder / "completions" / shell / _FILES[shell].format(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "build"))
