"""Settings of a program, in the order defaults < file < environment < flags, validated together at start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

import structlog
from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from programkit.secrets import ADVICE, redacted, secret_in
from programkit.settings.command_line import Parser, source_of
from programkit.settings.described import Setting, described
from programkit.settings.file import SECTIONS, SettingsFile, settings_file
from programkit.settings.invalid import InvalidSettings
from programkit.settings.kinds import Subject
from programkit.settings.suggestion import did_you_mean, misspelt

MISSING: Final = "is missing"
"""Reason of `ProgramSettings.incomplete` for a setting that is always required."""

_INCOMPLETE = "incomplete"


class ProgramSettings(BaseSettings):
    """Base class for the settings of a program.

    A subclass defines the options as fields, the program's name and the prefix of its environment variables in
    ``model_config``, and the introduction of ``--help`` as its docstring. The first field of each subject has a
    `Subject` in its annotation; the type of a field says what its values are, such as `Seconds`.
    """

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_enforce_required=False,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )
    section: ClassVar[str] = ""
    """Table of the program in a file for several programs, one of `SECTIONS`."""
    distribution: ClassVar[str] = ""
    """Name of the installed distribution that has the program's version."""
    variables_elsewhere: ClassVar[frozenset[str]] = frozenset()
    """Environment variables of other programs with the same prefix that look like misspelt ones of this program."""

    config: Annotated[Path | None, Subject("General")] = Field(None, description="TOML file with settings")

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each missing setting that the given raw settings require, with the reason."""
        yield from ()

    @classmethod
    def described(cls) -> list[Setting]:
        """Return all settings in the order of their declarations."""
        return described(cls, frozenset(name for name, why in cls.incomplete({}) if why == MISSING))

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, given: dict[str, Any], validated: ModelWrapValidatorHandler[Self]) -> Self:
        """Report incomplete groups of settings together with all invalid settings."""
        missing = [
            InitErrorDetails(type=PydanticCustomError(_INCOMPLETE, "{why}", {"why": why}), loc=(name,), input=None)
            for name, why in cls.incomplete(given)
        ]
        try:
            settings = validated(given)
        except ValidationError as error:
            bad = [
                InitErrorDetails(type=each["type"], loc=each["loc"], input=each["input"], ctx=each.get("ctx", {}))
                for each in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, [*bad, *missing]) from None
        if missing:
            raise ValidationError.from_exception_data(cls.__name__, missing)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only the constructor's arguments: `Given` reads all sources, and remembers what came from which."""
        return (init_settings,)


S = TypeVar("S", bound=ProgramSettings)


@dataclass(frozen=True, slots=True)
class Given:
    """The raw settings of a program from each source."""

    flags: Mapping[str, Any]
    environment: Mapping[str, Any]
    file: SettingsFile | None
    problems: tuple[str, ...]
    """Problems of the sources themselves: unknown flags and sections."""

    @classmethod
    def read(cls, model: type[ProgramSettings], arguments: Sequence[str]) -> Given:
        """Read all sources.

        Raises:
            InvalidSettings: a source cannot be read.
        """
        parser = parser_of(model)
        flags = source_of(model, parser)(args=list(arguments))()
        environment = EnvSettingsSource(model)()
        path = flags.get("config") or environment.get("config")
        file = settings_file(path, model.section) if path else None
        unknown = parser.unknown()
        if file:
            sections = [f"[{name}]" for name in SECTIONS]
            unknown += [
                f"{file.path}: [{name}]: there is no such section{did_you_mean(f'[{name}]', sections)}"
                for name in file.unknown_sections
            ]
        return cls(flags, environment, file, tuple(unknown))

    @property
    def merged(self) -> dict[str, Any]:
        """All settings that are given."""
        return {**(self.file.values if self.file else {}), **self.environment, **self.flags}

    def origin(self, setting: Setting) -> str:
        """Return the source of a setting's value, and its name there."""
        if setting.name in self.flags:
            return f"flag {setting.flag}"
        if setting.name in self.environment:
            return f"environment {setting.variable}"
        place = self.place(setting.name)
        return f"file {place}" if place else "default"

    def place(self, name: str) -> str | None:
        """Return where the file has a setting, or None if its value comes from elsewhere."""
        if self.file is None or name in self.flags or name in self.environment or name not in self.file.values:
            return None
        return self.file.place(name)


def parser_of(model: type[ProgramSettings]) -> Parser:
    """Return the parser of a program's command line, without its settings, which `source_of` adds."""
    name = model.model_config.get("cli_prog_name") or ""
    prefix = model.model_config.get("env_prefix", "")
    return Parser(name, model.distribution, model.__doc__ or "", prefix, model.described())


def load(settings: type[S], arguments: Sequence[str], *, advice: str = ADVICE) -> S:
    """Return all settings of a program. If any is invalid, print each problem to standard error and exit with 2.

    Args:
        settings: the program's settings class.
        arguments: command line arguments.
        advice: message for a password on the command line.
    """
    try:
        if option := secret_in(arguments):
            raise InvalidSettings(f"{option}: {advice}")
        return validated(settings, Given.read(settings, arguments))
    except InvalidSettings as invalid:
        for problem in invalid.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - no log is set up yet
        raise SystemExit(2) from None


def validated(settings: type[S], given: Given) -> S:
    """Return the settings of all sources.

    Raises:
        InvalidSettings: settings are unknown, invalid or missing; all of them are named.
    """
    problems = list(given.problems)
    try:
        valid = settings(**given.merged)
    except ValidationError as error:
        problems += [_message(problem, settings, given) for problem in error.errors()]
    if problems:
        raise InvalidSettings(*problems) from None
    return valid


def misspelt_variables(settings: type[ProgramSettings]) -> list[tuple[str, str]]:
    """Return each environment variable that is probably a misspelt one of this program, with the right one."""
    known = [setting.variable for setting in settings.described()]
    prefix = settings.model_config.get("env_prefix", "")
    return list(misspelt(os.environ, prefix, known, settings.variables_elsewhere)) if prefix else []


def warn_of_misspelt_variables(settings: ProgramSettings, log: structlog.typing.FilteringBoundLogger) -> None:
    """Log each environment variable that is probably a misspelt one of this program.

    They do not stop a program: the variable may belong to another program, or to another version of this one.
    """
    for variable, right in misspelt_variables(type(settings)):
        log.warning("unknown environment variable", variable=variable, did_you_mean=right)


def _message(problem: ErrorDetails, settings: type[ProgramSettings], given: Given) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    prefix = settings.model_config.get("env_prefix", "")
    flag = f"--{name.replace('_', '-')} ({prefix}{name.upper()})"
    wrong = problem["msg"].removeprefix("Value error, ")
    if not name:
        return redacted(wrong)
    if problem["type"] == "missing":
        return f"{flag}: {MISSING}"
    if problem["type"] == _INCOMPLETE:
        return f"{flag}: {problem['msg']}"
    place = given.place(name)
    if problem["type"] == "extra_forbidden":
        return f"{redacted(place or name)}: there is no such setting{did_you_mean(name, settings.model_fields)}"
    where = f", in {place}" if place else ""
    return f"{flag}: {redacted(wrong)}, got {redacted(repr(problem['input']))}{where}"
