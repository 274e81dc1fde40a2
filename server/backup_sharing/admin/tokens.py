"""``backup-sharing token``: create, list, revoke and rotate the tokens of a server's token file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from backup_sharing.errors import InvalidArgument
from backup_sharing.identity.token_file.changing import (
    NoSuchToken,
    add_token,
    find_token,
    revoke_tokens,
    rotate_token,
)
from backup_sharing.identity.token_file.entries import BadTokenFile, TokenEntry, read_entries
from backup_sharing.identity.token_file.last_use import read_last_use
from backup_sharing.identity.token_file.writing import CannotChange
from backup_sharing.usecases import policy
from backup_sharing.usecases.checks import Checks
from backupsharing.commands.text import table
from backupsharing.commands.times import Span, span

_DAY = 86_400.0

C = TypeVar("C", bound=Callable[..., object])


class _Tokens(click.Group):
    """Options without a command create a token."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_command = not args or not args[0].startswith("-") or args[0] == "--help"
        return super().parse_args(ctx, args if is_command else ["create", *args])


@click.group("token", cls=_Tokens)
def token() -> None:
    """Create, list, revoke and rotate the tokens of a token file.

    A server reads its file again within seconds of a change. 'backup-sharing token --file …' without a command creates
    a token.
    """


def _file(command: C) -> C:
    kind = click.Path(path_type=Path)
    return click.option(
        "--file", type=kind, required=True, envvar="BACKUP_SHARING_TOKENS", show_envvar=True, help="Token file."
    )(command)


_expires_in = click.option(
    "--expires-in",
    type=click.FloatRange(min=0, min_open=True, max=1_000_000),
    help="Days until the token expires.  [default: never; of a rotated token, as long as it was created for]",
)


@token.command()
@_file
@click.option("--project", default="", help="Id of the token's project; omit for a service.")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(sorted(policy.ROLES)))
@click.option("--user", default="", help="Name of the holder in logs.")
@click.option("--description", default="", help="A text for 'backup-sharing token list'.")
@_expires_in
def create(
    file: Path, project: str, roles: tuple[str, ...], user: str, description: str, expires_in: float | None
) -> None:
    """Create a token and print it; it cannot be printed again, because the file holds only its digest.

    The file is created if missing.
    """
    checks = Checks()
    if project or set(roles) != {"service"}:
        checks.project_id("--project", project)
    for name, text in (("--user", user), ("--description", description)):
        if not text.isprintable():
            raise click.ClickException(f"{name}: {text!r} has characters that cannot be printed")
    now = time.time()
    expires_at = None if expires_in is None else now + expires_in * _DAY
    with _one_line_errors(file):
        checks.done()
        click.echo(add_token(file, project, roles, user, expires_at, created_at=now, description=description))


@token.command("list")
@_file
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def list_(file: Path, form: str) -> None:
    """List all tokens by their ids, with the last use as far as a server could record it, to the minute."""
    with _one_line_errors(file):
        entries, used = read_entries(file), read_last_use(file)
    now = time.time()
    rows = [(entry, used.get(entry.sha256)) for entry in entries]
    if form == "json":
        click.echo(json.dumps([_as_json(entry, at, now) for entry, at in rows], indent=1))
        return
    titles = ("ID", "PROJECT", "ROLES", "USER", "CREATED", "EXPIRES", "LAST USE", "DESCRIPTION")
    click.echo(table(titles, [_as_row(entry, at, now) for entry, at in rows]))


@token.command()
@_file
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(file: Path, ids: tuple[str, ...]) -> None:
    """Remove tokens, all of them or none. Servers refuse them within seconds, and end their watches."""
    with _one_line_errors(file):
        gone = revoke_tokens(file, ids)
    for entry in gone:
        click.echo(f"revoked {entry.id}")


@token.command()
@_file
@click.argument("id", metavar="ID")
@click.option(
    "--overlap", metavar="SPAN", default="24h", callback=lambda *given: _overlap(given[2]),
    help="How long the existing token is still accepted, such as 24h or 7d; 0 ends it now.",
)  # fmt: skip
@_expires_in
def rotate(file: Path, id: str, overlap: Span | None, expires_in: float | None) -> None:
    """Create a token with the project, roles and user of an existing one, and print it; the existing one ends later.

    The end of the existing token is printed on standard error.
    """
    now, seconds = time.time(), 0.0 if overlap is None else overlap.length.total_seconds()
    with _one_line_errors(file):
        lifetime = _lifetime(find_token(file, read_entries(file), id), expires_in)
        new, old = rotate_token(file, id, now=now, overlap=seconds, lifetime=lifetime)
    click.echo(new)
    click.echo(f"{old.id} is accepted until {_written(old.expires_at, 'for ever')}", err=True)


def _overlap(text: str) -> Span | None:
    return None if text == "0" else span(text)


def _lifetime(old: TokenEntry, expires_in: float | None) -> float | None:
    """Return the lifetime of the token that replaces another one, in seconds; None: for ever."""
    if expires_in is not None:
        return expires_in * _DAY
    if old.expires_at is None:
        return None
    if old.created_at is None or old.expires_at <= old.created_at:
        raise click.ClickException(f"{old.id} expires, and its lifetime is unknown: give --expires-in")
    return old.expires_at - old.created_at


def _as_row(entry: TokenEntry, used: float | None, now: float) -> tuple[str, ...]:
    expires = f"{_written(entry.expires_at, 'never')}{' (expired)' if entry.has_expired(now) else ''}"
    holder = entry.principal
    roles = ",".join(sorted(holder.roles))
    times = (_written(entry.created_at, "unknown"), expires, _written(used, "not recorded"))
    return (entry.id, holder.project_id or "-", roles, holder.user_id or "-", *times, entry.description or "-")


def _as_json(entry: TokenEntry, used: float | None, now: float) -> dict[str, object]:
    return {
        "id": entry.id,
        "project_id": entry.principal.project_id,
        "roles": sorted(entry.principal.roles),
        "user_id": entry.principal.user_id,
        "description": entry.description,
        "created_at": None if entry.created_at is None else _written(entry.created_at, ""),
        "expires_at": None if entry.expires_at is None else _written(entry.expires_at, ""),
        "is_expired": entry.has_expired(now),
        "last_used_at": None if used is None else _written(used, ""),
    }


def _written(at: float | None, otherwise: str) -> str:
    if at is None:
        return otherwise
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "beyond the year 9999" if at > 0 else "before the year 1"


@contextmanager
def _one_line_errors(file: Path) -> Iterator[None]:
    """Report a file that cannot be used or changed in one line."""
    try:
        yield
    except (InvalidArgument, BadTokenFile, CannotChange, NoSuchToken) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
