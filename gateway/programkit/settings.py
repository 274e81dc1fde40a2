"""Settings of a program, in the order defaults < file < environment < flags, validated together at start."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, Self, TypeVar

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from programkit.secrets import ADVICE, redacted, secret_in, usage_redacted

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Loopback hosts, as written in HOST:PORT."""

_INCOMPLETE = "incomplete"


def split(value: object) -> object:
    """Split a text at its commas; return any other value unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[list[str], NoDecode, BeforeValidator(split)]
"""A list of texts, given one by one or separated by commas."""


def is_host_and_port(value: str) -> bool:
    """Return whether a text has the form HOST:PORT."""
    host, colon, port = value.rpartition(":")
    return bool(host and colon and port.isascii() and port.isdigit() and int(port) < 65536)


def is_on(given: object) -> bool:
    """Return whether the raw, not validated value of a switch turns the switch on."""
    return str(given or "").lower() in ("true", "1", "yes", "on")


class ProgramSettings(BaseSettings):
    """Base class for the settings of a program.

    A subclass defines the options as fields, the program's name and the prefix of its environment variables in
    ``model_config``, and the introduction of ``--help`` as its docstring.
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

    config: Path | None = Field(None, description="TOML file with settings")

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each missing setting that the given raw settings require, with the reason."""
        yield from ()

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
        """Put the environment before the constructor's arguments, which come from the file."""
        return env_settings, init_settings


S = TypeVar("S", bound=ProgramSettings)


def load(settings: type[S], arguments: Sequence[str], *, advice: str = ADVICE) -> S:
    """Return all settings of a program. If any is invalid, print each problem to standard error and exit with 2.

    Args:
        settings: the program's settings class.
        arguments: command line arguments.
        advice: message for a password on the command line.
    """
    if option := secret_in(arguments):
        _refuse(f"{option}: {advice}")
    prefix = settings.model_config.get("env_prefix", "")
    try:
        with usage_redacted():
            # pydantic-settings defines this argument; mypy sees only the fields of the model.
            return settings(_cli_parse_args=list(arguments), **_file(arguments, prefix))  # type: ignore[call-arg]
    except ValidationError as error:
        _refuse(*(_message(problem, prefix) for problem in error.errors()))


def _message(problem: ErrorDetails, prefix: str) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    flag = f"--{name.replace('_', '-')} ({prefix}{name.upper()})"
    wrong = problem["msg"].removeprefix("Value error, ")
    if not name:
        return redacted(wrong)
    if problem["type"] == "missing":
        return f"{flag}: is missing"
    if problem["type"] == _INCOMPLETE:
        return f"{flag}: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting, but the file named by --config has it"
    return f"{flag}: {redacted(wrong)}, got {redacted(repr(problem['input']))}"


def _file(arguments: Sequence[str], prefix: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=os.environ.get(f"{prefix}CONFIG"))
    path = parser.parse_known_args(list(arguments))[0].config
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        _refuse(f"--config: {path}: {why}")


def _refuse(*problems: str) -> NoReturn:
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - no log is set up yet
    raise SystemExit(2) from None
