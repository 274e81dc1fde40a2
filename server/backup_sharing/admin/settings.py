"""``backup-sharing config`` and ``check-config``: the settings of the server and of the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import click

from programkit.settings import InvalidSettings, ProgramSettings, misspelt_variables
from programkit.settings.file import SECTIONS, has_sections, read
from programkit.settings.loading import Given, validated
from programkit.settings.schema import of_program, of_sections
from programkit.settings.toml import effective, sample

MODELS: Final = "programkit.settings"
"""Group of the entry points of settings classes. So this command knows the gateway's without importing the gateway."""

_program = click.argument("program", type=click.Choice(SECTIONS), required=False)


def models(program: str | None = None) -> Mapping[str, type[ProgramSettings]]:
    """Return the settings class of each program, or of one, by the section of a file."""
    points = {point.name: point for point in entry_points(group=MODELS)}
    return {name: points[name].load() for name in SECTIONS if name in points and program in (None, name)}


@click.group("config")
def config() -> None:
    """Print settings of backup-sharing-server and backup-sharing-gateway.

    One TOML file can have the settings of both, in the sections [server] and [gateway].
    """


@config.command("sample")
@_program
def sample_(program: str | None) -> None:
    """Print a TOML file with every setting, commented out, with its meaning, unit and default."""
    click.echo("\n\n".join(sample(model) for model in models(program).values()), nl=False)


@config.command()
@_program
def schema(program: str | None) -> None:
    """Print the JSON Schema of a file with both sections, or of a file for one program."""
    found = models(program)
    document = of_program(found[program]) if program else of_sections(found)
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@config.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[server|gateway] [OPTION]...")
def show(arguments: tuple[str, ...]) -> None:
    """Print the effective settings, and where each comes from: default, file, environment or flag.

    The options are those of the program, such as --config FILE. Passwords are shown as ***. Exits with 1 if settings
    are invalid or missing; the values are then printed as they are given.
    """
    program = arguments[0] if arguments and arguments[0] in SECTIONS else None
    options = arguments[1:] if program else arguments
    texts, problems = [], []
    for name, model in models(program).items():
        valid = None
        try:
            given = Given.read(model, options)
        except InvalidSettings as invalid:
            problems += [(name, problem) for problem in invalid.problems]
            continue
        try:
            valid = validated(model, given)
        except InvalidSettings as invalid:
            problems += [(name, problem) for problem in invalid.problems]
        texts.append(effective(model, given, valid))
    click.echo("\n".join(texts), nl=False)
    _report(problems)


@click.command("check-config")
@click.option(
    "--config",
    "path",
    envvar="BACKUP_SHARING_CONFIG",
    show_envvar=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file with settings.",
)
@_program
def check_config(path: Path | None, program: str | None) -> None:
    """Check the settings in a file and in the environment, and name everything that is wrong.

    Starts nothing, and opens neither a database nor a certificate. Without an argument, checks the programs that have
    a section in the file. Also names environment variables that look like misspelt settings, which a program only
    warns of. Exits with 1 if anything is wrong.
    """
    try:
        programs = _programs(path, program)
    except InvalidSettings as invalid:
        raise click.ClickException("\n".join(invalid.problems)) from None
    found = {name: list(_problems(model, path)) for name, model in programs.items()}
    for name, problems in found.items():
        if not problems:
            click.echo(f"{name}: the settings are valid")
    _report([(name, problem) for name, problems in found.items() for problem in problems])


def _programs(path: Path | None, program: str | None) -> Mapping[str, type[ProgramSettings]]:
    if path is None or program:
        return models(program)
    content = read(str(path))
    if not has_sections(content):
        raise InvalidSettings(f"{path}: it has no sections; name the program that reads it: {' or '.join(SECTIONS)}")
    return {name: model for name, model in models().items() if name in content} or models()


def _problems(model: type[ProgramSettings], path: Path | None) -> Iterator[str]:
    try:
        validated(model, Given.read(model, ["--config", str(path)] if path else []))
    except InvalidSettings as invalid:
        yield from invalid.problems
    for variable, right in misspelt_variables(model):
        yield f"{variable}: there is no such setting; did you mean {right}?"


def _report(problems: Sequence[tuple[str, str]]) -> None:
    """Print all problems, the common ones of both programs once, and exit with 1 if there are any."""
    programs: dict[str, list[str]] = {}
    for name, problem in problems:
        programs.setdefault(problem, []).append(name)
    for problem, names in programs.items():
        click.echo(f"{', '.join(names)}: {problem}", err=True)
    if programs:
        raise SystemExit(1)
