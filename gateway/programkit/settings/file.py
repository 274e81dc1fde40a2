"""Settings in a TOML file: of one program, or of several in a table for each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from programkit.settings.invalid import InvalidSettings

SECTIONS: Final = ("server", "gateway")
"""Tables of a file that several programs read: each program reads its own."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The content of a file that concerns one program."""

    path: str
    section: str
    """Name of the program's table; empty if the file has no tables."""
    values: dict[str, Any]
    unknown_sections: tuple[str, ...] = ()

    def place(self, name: str) -> str:
        """Return where a setting stands, for messages."""
        return f"{self.path}: [{self.section}] {name}" if self.section else f"{self.path}: {name}"


def read(path: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        InvalidSettings: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidSettings(f"--config: {path}: {why}") from None


def has_sections(content: dict[str, Any]) -> bool:
    """Return whether a file has tables, and not the settings of one program only."""
    return any(name in SECTIONS or _is_table(value) for name, value in content.items())


def settings_file(path: str, section: str) -> SettingsFile:
    """Read the settings of a program.

    Args:
        path: the file.
        section: the table of the program, if the file has tables.

    Raises:
        InvalidSettings: the file cannot be read, is not TOML, or has settings outside of its tables.
    """
    content = read(path)
    if not has_sections(content):
        return _checked(SettingsFile(path, "", content))
    tables = " or ".join(f"[{name}]" for name in SECTIONS)
    problems = [
        f"{path}: [{name}] is not a table"
        if name in SECTIONS
        else f"{path}: {name}: it stands outside of the sections; move it into {tables}"
        for name, value in content.items()
        if not _is_table(value)
    ]
    if problems:
        raise InvalidSettings(*problems)
    unknown = tuple(name for name in content if name not in SECTIONS)
    return _checked(SettingsFile(path, section, content.get(section, {}), unknown))


def _checked(file: SettingsFile) -> SettingsFile:
    if "config" in file.values:
        raise InvalidSettings(f"{file.place('config')}: a file cannot name another file")
    return file


def _is_table(value: object) -> bool:
    return isinstance(value, dict)
