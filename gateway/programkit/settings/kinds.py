"""Kinds of values that settings have, and the markers that a declaration may carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Loopback hosts, as written in HOST:PORT."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A heading: the subject of a setting, and of the settings that are declared after it."""

    title: str


@dataclass(frozen=True, slots=True)
class Metavar:
    """The word that stands for a value in help, such as HOST:PORT."""

    word: str


def split(value: object) -> object:
    """Split a text at its commas; return any other value unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


SPLIT: Final = BeforeValidator(split, json_schema_input_type=list[str] | str)
"""Lets a list be written as one text with commas."""

Names = Annotated[list[str], NoDecode, SPLIT, Metavar("NAME")]
"""A list of texts, given one by one or separated by commas."""

Name = Annotated[str, Metavar("NAME")]
Seconds = Annotated[float, Metavar("SECONDS")]
Days = Annotated[float, Metavar("DAYS")]
Bytes = Annotated[int, Metavar("BYTES")]

MinimumLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    Subject("Log and traces"),
    Field(description="minimum level to log"),
]
"""Type of the setting ``log_level``."""

Traces = Annotated[
    bool,
    Field(
        description="send traces by OpenTelemetry, as the environment variables OTEL_... say; also on if"
        " OTEL_TRACES_EXPORTER is set; needs the extra [otel]"
    ),
]
"""Type of the setting ``traces``."""


def _url(value: str) -> str:
    parts = urlsplit(value)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("expected http(s)://HOST[:PORT][/PATH]")
    return value


Url = Annotated[str, AfterValidator(_url), Metavar("URL")]


def is_host_and_port(value: str) -> bool:
    """Return whether a text has the form HOST:PORT."""
    host, colon, port = value.rpartition(":")
    return bool(host and colon and port.isascii() and port.isdigit() and int(port) < 65536)


def is_on(given: object) -> bool:
    """Return whether the raw, not validated value of a switch turns the switch on."""
    return str(given or "").lower() in ("true", "1", "yes", "on")
