"""Settings: defaults < file < environment < flags, checked as a whole at start."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENVIRONMENT_PREFIX = "BACKUP_SHARING_"


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("expected HOST:PORT or unix:PATH")
    return value


Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseSettings):
    """Share volume backups between projects, over gRPC.

    Every option can also be given in the environment (--commit-margin as BACKUP_SHARING_COMMIT_MARGIN)
    or in a TOML file (commit_margin = 1.0) named by --config. Flags win over the environment, the
    environment over the file.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        cli_prog_name="backup-sharing-server",
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
    grpc_listen: Address = Field("127.0.0.1:50051", description="HOST:PORT or unix:PATH to serve gRPC on")
    database: Path = Field(description="SQLite file; made if it is missing")
    tokens: Path = Field(description="file of token digests; 'backup-sharing token' adds to it")
    max_recipients: int = Field(1000, ge=1, description="recipients that one call may name")
    max_active_sharings: int = Field(1000, ge=0, description="active sharings that one backup may have; 0: any number")
    on_conflict: Literal["refuse", "return"] = Field(
        "refuse",
        description="when a recipient already has the backup: refuse the call, or return the standing sharing",
    )
    idempotency_key_lifetime: float = Field(86400, gt=0, description="seconds for which an idempotency key is kept")
    commit_margin: float = Field(
        1.0,
        ge=0,
        description="seconds before a call's deadline from which nothing is committed any more,"
        " so that a call that ran out of time has stored nothing",
    )
    max_concurrent_calls: int = Field(4096, ge=1, description="calls in progress; more are refused as overload")
    max_waiting_changes: int = Field(10_000, ge=1, description="changes waiting for the database; more are refused")
    commit_delay: float = Field(
        0.001,
        ge=0,
        le=1,
        description="seconds that a change waits for others to share its commit while several callers make changes",
    )
    read_threads: int = Field(2, ge=1, description="threads that read from the database")
    busy_timeout: float = Field(5.0, ge=0, description="seconds to wait while another process writes to the database")
    drain_timeout: float = Field(10.0, ge=0, description="seconds that calls in progress get when the server stops")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    stop_on_stdin_close: bool = Field(
        False, description="drain when standard input closes, so that the server does not outlive its parent"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what is passed in comes from the file, so the environment wins over it."""
        return env_settings, init_settings


def load(arguments: Sequence[str]) -> Settings:
    """Read all settings. If any is bad, list every one on standard error and exit with 2."""
    try:
        # The argument is pydantic-settings' own, unknown to the model that mypy sees.
        return Settings(_cli_parse_args=list(arguments), **_file(arguments))  # type: ignore[call-arg]
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            flag = f"--{name.replace('_', '-')} ({ENVIRONMENT_PREFIX}{name.upper()})"
            wrong = problem["msg"].removeprefix("Value error, ")
            message = f"{flag}: {wrong}, got {problem['input']!r}"
            if problem["type"] == "missing":
                message = f"{flag}: is missing"
            elif problem["type"] == "extra_forbidden":
                message = f"{name}: there is no such setting, but the file named by --config has it"
            print(message, file=sys.stderr)  # noqa: T201 - no log is set up yet
        raise SystemExit(2) from None


def _file(arguments: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"))
    path = parser.parse_known_args(list(arguments))[0].config
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"--config: {path}: {why}", file=sys.stderr)  # noqa: T201 - no log is set up yet
        raise SystemExit(2) from None
