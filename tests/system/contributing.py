"""The how-to sections of CONTRIBUTING.md, and an example that follows each of them.

The examples depend on each other: the new call fails with the new reason for one project, and the client that has the
new call also counts with the new filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LOCKED_PROJECT = "0ff5e7c0ffee4dadaabe5b2d0fe84aaa"
"""Demo project for which the new call fails."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a section."""

    path: str
    """Path of the file that the step changes."""
    names: Sequence[str]
    """Names that the step mentions in that file."""


def steps(section: str) -> Sequence[Step]:
    """Parse the steps of a section; each begins with a file path and quotes names in that file."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    items = re.findall(r"^\d+\. `([^`]+)`: (.*(?:\n   .*)*)", text, re.MULTILINE)
    assert len(items) == len(re.findall(r"^\d+\. ", text, re.MULTILINE)), f"a step of {section!r} names no file"
    quoted = {path: re.findall(r"`(\w+)`", rest) for path, rest in items}
    return [Step(path, names) for path, names in quoted.items()]


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines to add to a file."""

    at: str
    """Start of the only line after or before which the lines are inserted."""
    lines: str
    before: bool = False


def apply(file: Path, edits: Sequence[Edit]) -> None:
    """Apply the edits of one file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for edit in edits:
        (place,) = (number for number, line in enumerate(lines) if line.startswith(edit.at))
        place += 0 if edit.before else 1
        lines[place:place] = edit.lines.strip("\n").splitlines()
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


_CALL = {
    "protos/backupsharing/v2/backup_sharing.proto": [
        Edit(
            "service BackupSharingService {",
            """
  // Reports whether the project gave a sharing.
  rpc HasSharings(HasSharingsRequest) returns (HasSharingsResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = {get: "/v2/{project_id}/os-vendor-backup-sharing-any"};
  }
""",
        ),
        Edit(
            "// A backup and the projects to share it with.",
            """
// Request of HasSharings.
message HasSharingsRequest {
  // The giver.
  string project_id = 1;
}

// Response of HasSharings.
message HasSharingsResponse {
  // True: the project gave a sharing.
  bool any = 1;
}
""",
            before=True,
        ),
    ],
    "server/backup_sharing/usecases/policy.py": [
        Edit("METHODS: ", '    "/backupsharing.v2.BackupSharingService/HasSharings": Permission.READ,')
    ],
    "server/backup_sharing/usecases/sharing.py": [
        Edit(
            "    async def count(self",
            f"""
    async def has_any(self, project_id: str) -> bool:
        if project_id == "{LOCKED_PROJECT}":
            raise ProjectLocked()
        return await self.count(FilterRequest(project_id)) > 0
""",
            before=True,
        ),
        Edit("from backup_sharing.errors import ", "from backup_sharing.errors import ProjectLocked"),
    ],
    "server/backup_sharing/rpc/sharing_service.py": [
        Edit(
            "    async def count(self",
            """
    async def has_any(self, _: Caller, request: pb.HasSharingsRequest) -> pb.HasSharingsResponse:
        return pb.HasSharingsResponse(any=await self.sharings.has_any(request.project_id))
""",
            before=True,
        ),
        Edit(
            '            ServedMethod(f"/{SERVICE}/CountSharings"',
            """
            ServedMethod(f"/{SERVICE}/HasSharings", pb.HasSharingsRequest, lambda got: got.project_id, self.has_any),
""",
        ),
    ],
    "protos/backupsharing/client/calls.py": [
        Edit(
            "def count(",
            """
def has_any(project_id: str) -> Call[bool]:
    return Call(
        f"{_SHARINGS}/HasSharings",
        sharing.HasSharingsRequest(project_id=_given(project_id)),
        sharing.HasSharingsResponse.FromString,
        lambda answer: bool(answer.any),
        is_repeatable=True,
    )
""",
            before=True,
        )
    ],
    "protos/backupsharing/client/synchronous.py": [
        Edit(
            "    def count(self",
            """
    def has_any(self, *, timeout: float | None = None) -> bool:
        return self._sender.do(calls.has_any(self._project), timeout)
""",
            before=True,
        )
    ],
    "protos/backupsharing/client/asynchronous.py": [
        Edit(
            "    async def count(self",
            """
    async def has_any(self, *, timeout: float | None = None) -> bool:
        return await self._sender.do(calls.has_any(self._project), timeout)
""",
            before=True,
        )
    ],
}

_FILTER = {
    "protos/backupsharing/v2/backup_sharing.proto": [
        Edit("message ListSharingsRequest {", "  // Only of this snapshot.\n  optional string snapshot_id = 90;"),
        Edit("message CountSharingsRequest {", "  // Only of this snapshot.\n  optional string snapshot_id = 90;"),
    ],
    "server/backup_sharing/usecases/sharing.py": [Edit("FILTERS: ", '    "snapshot_id": _short_text,')],
    "server/backup_sharing/store/interface.py": [
        Edit("    availability_zone: str | None", "    snapshot_id: str | None = None")
    ],
    "server/backup_sharing/store/listing.py": [Edit("_OF_BACKUP: ", '    ("snapshot_id", "b.snapshot_id"),')],
    "protos/backupsharing/client/model.py": [Edit("    received: bool", "    snapshot_id: str", before=True)],
    "protos/backupsharing/commands/sharings.py": [
        Edit("_FILTERS = (", '    click.option("--snapshot-id", help="Only of backups of this snapshot."),')
    ],
}

_REASON = {
    "protos/backupsharing/v2/error_reason.proto": [
        Edit(
            "  ERROR_REASON_UNSPECIFIED = 0;",
            """
  // FAILED_PRECONDITION: the project is locked.
  ERROR_REASON_PROJECT_LOCKED = 90 [(restmap.v1.reason) = {
    grpc_code: FAILED_PRECONDITION
    code: "BackupSharing.0090"
    http_status: 423
    nothing_done: true
  }];
""",
        )
    ],
    "server/backup_sharing/errors.py": [
        Edit(
            "class BackupNotFound(",
            '''
class ProjectLocked(Failure):
    """The project is locked."""

    reason = "PROJECT_LOCKED"

    def __init__(self) -> None:
        super().__init__("The project is locked.")


''',
            before=True,
        )
    ],
    "tests/server/failures.py": [Edit("EXAMPLES: ", "    errors.ProjectLocked(),")],
    "protos/backupsharing/client/errors.py": [
        Edit(
            "class BackupNotFound(",
            'class ProjectLocked(BackupSharingError):\n    """The project is locked."""',
            before=True,
        ),
        Edit("_OF_ONE_REASON: ", '    "PROJECT_LOCKED": ProjectLocked,'),
    ],
    "protos/backupsharing/client/__init__.py": [
        Edit("    NotAuthenticated,", "    ProjectLocked,"),
        Edit('    "NotAuthenticated",', '    "ProjectLocked",'),
    ],
    "tests/client/test_errors.py": [Edit("EXPECTED = {", '    "ProjectLocked": "PROJECT_LOCKED",')],
}

EXAMPLES: Mapping[str, Mapping[str, Sequence[Edit]]] = {
    "Add a call": _CALL,
    "Add a filter": _FILTER,
    "Add an error reason": _REASON,
}
"""Edits of each step by section."""
