"""Projects, tokens and requests for the server's tests: valid by default; a test overrides single members."""

from __future__ import annotations

from backup_sharing.identity.static import StaticTokens, digest
from backup_sharing.model import Backup, Principal
from backup_sharing.rules.commands import OnConflict
from backup_sharing.usecases.sharing import CancelRequest, FilterRequest, ListRequest, Recipients, ShareRequest

GIVER = "a" * 32
RECIPIENT = "b" * 32
OTHER = "c" * 32
OUTSIDER = "d" * 32

BACKUP = "00000000-0000-4000-8000-00000000000a"
SECOND_BACKUP = "00000000-0000-4000-8000-00000000000b"
OUTSIDERS_BACKUP = "00000000-0000-4000-8000-00000000000d"
UNKNOWN = "ffffffff-ffff-4fff-8fff-ffffffffffff"

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
REQUEST_ID = "req-00000000-0000-4000-8000-000000000001"
MADE_REQUEST_ID = "req-00000000-0000-4000-8000-00000000abcd"

TOKENS = {
    "giver-token": Principal(GIVER, frozenset({"member"}), "gina"),
    "reader-token": Principal(GIVER, frozenset({"reader"}), "rita"),
    "recipient-token": Principal(RECIPIENT, frozenset({"member"}), "rob"),
    "outsider-token": Principal(OUTSIDER, frozenset({"member"}), "otto"),
    "admin-token": Principal("e" * 32, frozenset({"admin"}), "ada"),
    "service-token": Principal("", frozenset({"service"}), "sam"),
    "roleless-token": Principal(GIVER, frozenset({"_member_"}), "nobody"),
}


class Clock:
    """A clock that moves only by `pass_`."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class Ids:
    """Sharing ids in ascending order."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        return f"01900000-0000-7000-8000-{self.made:012x}"


def identity() -> StaticTokens:
    return StaticTokens({digest(token): (principal, None) for token, principal in TOKENS.items()}, lambda: NOW / SECOND)


def backup(id: str = BACKUP, project_id: str = GIVER, status: str = "available", **members: object) -> Backup:
    return Backup(id=id, project_id=project_id, status=status, **members)  # type: ignore[arg-type]  # keyword members


def share(
    *to: str,
    of: str = BACKUP,
    by: str = GIVER,
    key: str | None = None,
    on_conflict: OnConflict | None = None,
) -> ShareRequest:
    return ShareRequest(by, Recipients(of, to or (RECIPIENT,)), key, on_conflict)


def cancel(id: str, by: str = GIVER, key: str | None = None, *, is_backup_id: bool = False) -> CancelRequest:
    return CancelRequest(by, id, is_backup_id, key)


def filtered(by: str = GIVER, *, share_to_me: bool = False, **given: str) -> FilterRequest:
    return FilterRequest(by, share_to_me, given)


def page(filter: FilterRequest | None = None, **members: object) -> ListRequest:
    return ListRequest(filter or filtered(), **members)  # type: ignore[arg-type]  # keyword members


def projects(number: int, length: int = 32) -> list[str]:
    return [f"{index:0{length}x}" for index in range(number)]
