"""User that runs PostgreSQL's programs."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """User that runs the tests, or ``nobody`` instead of root, because PostgreSQL refuses root.

    ``nobody`` exists on every machine, so the tests create no account.
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
        """Return whether the user can access and read a path."""
        return self.run(["test", "-r", str(path)], cwd=Path("/")).returncode == 0

    def run(self, command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, check=False, capture_output=True, text=True, **self._circumstances(cwd))

    def start(self, command: list[str], cwd: Path, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program in a new session, so that Ctrl-C reaches pytest only and pytest ends the program in order."""
        with (log or Path(os.devnull)).open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._circumstances(cwd),
            )

    def _circumstances(self, cwd: Path) -> dict[str, Any]:
        # Pass none of the tests' environment, above all none of the PG… variables.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(cwd), "LC_ALL": "C", "TZ": "UTC"}
        becoming = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_another else {}
        return {"cwd": cwd, "env": environment, **becoming}
