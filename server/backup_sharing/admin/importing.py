"""``backup-sharing import``: import backups from a file into a running server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import grpc
from click.termui import progressbar

from backup_sharing.admin.backup_line import LONGEST_LINE, parse_line
from backupsharing.client.endpoint import BadEndpoint, Endpoint, metadata_of
from backupsharing.client.errors import failure_of
from backupsharing.commands.options import connection_options
from backupsharing.v2 import backup_catalog_pb2, backup_catalog_pb2_grpc
from backupsharing.v2.backup_pb2 import Backup

if TYPE_CHECKING:
    _Stub = backup_catalog_pb2_grpc.BackupCatalogServiceAsyncStub

_Metadata = tuple[tuple[str, str], ...]

IN_FLIGHT = 32
"""Maximum concurrent calls: enough to keep the server's writer busy."""

CALL_SECONDS = 30.0
_OVER_BAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    size: int
    """Length in bytes."""
    read: Backup | ValueError


class CannotImport(Exception):
    """The import cannot start; the message has the reason."""


@click.command("import")
@click.argument("file", type=click.File("rb"))
@connection_options
@click.option("--token", envvar="BACKUP_SHARING_TOKEN", default="", show_default=False, show_envvar=True,
              help="Token with the role service; not needed with a certificate that has this role.")  # fmt: skip
def import_(
    file: IO[bytes],
    server: str,
    token: str,
    ca: Path | None,
    insecure: bool,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Import backups into a running server from a file with one JSON object per line.

    A line has the keys of a documented `backup` and the owner's `project_id`; `-` reads standard
    input. Lines that cannot be imported are listed, the others are imported, and the exit code is 1.
    Importing the same file again is safe.
    """
    if not token and certificate is None:
        raise click.UsageError("--token (BACKUP_SHARING_TOKEN) is missing, and there is no --certificate")
    try:
        failed = asyncio.run(import_backups(file, Endpoint(server, ca, certificate, key, insecure), token))
    except CannotImport as error:
        raise click.ClickException(str(error)) from None
    sys.exit(1 if failed else 0)


async def import_backups(file: IO[bytes], endpoint: Endpoint, token: str = "") -> int:
    """Import every line of ``file``; list failed lines on standard error and return their number.

    Raises:
        CannotImport: the server cannot be reached, or refuses the token.
    """
    try:
        metadata, opened = metadata_of(token), endpoint.aio_channel()
    except BadEndpoint as error:
        raise CannotImport(str(error)) from None
    async with opened as channel:
        stub: _Stub = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
        await _greet(stub, metadata, endpoint.target)
        imported = failed = 0
        with progressbar(length=_size(file), label="Importing", file=sys.stderr) as bar:
            for batch in _batches(file):
                problems = await asyncio.gather(*(_put(stub, metadata, line.read) for line in batch))
                for line, problem in zip(batch, problems, strict=True):
                    if problem is not None:
                        # Overwrite the progress bar, which is drawn again below this line.
                        click.echo(f"{_OVER_BAR if sys.stderr.isatty() else ''}line {line.number}: {problem}", err=True)
                        failed += 1
                imported += problems.count(None)
                bar.update(sum(line.size for line in batch))
    click.echo(f"{imported} imported, {failed} failed", err=True)
    return failed


async def _put(stub: _Stub, metadata: _Metadata, read: Backup | ValueError) -> str | None:
    if isinstance(read, ValueError):
        return str(read)
    try:
        await stub.PutBackup(backup_catalog_pb2.PutBackupRequest(backup=read), metadata=metadata, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.details() or error.code().name
    return None


def _batches(file: IO[bytes]) -> Iterator[Sequence[_Line]]:
    """Yield batches of lines, each with distinct backups, because the server runs concurrent calls in any order."""
    batch: dict[object, _Line] = {}
    for line in _lines(file):
        backup_id = line.number if isinstance(line.read, ValueError) else line.read.id
        if backup_id in batch or len(batch) == IN_FLIGHT:
            yield list(batch.values())
            batch = {}
        batch[backup_id] = line
    if batch:
        yield list(batch.values())


def _lines(file: IO[bytes]) -> Iterator[_Line]:
    for number, line in enumerate(_bounded_lines(file), 1):
        if line.strip():
            yield _Line(number, len(line), _read(line))


def _read(line: bytes) -> Backup | ValueError:
    try:
        return parse_line(line)
    except ValueError as error:
        return error


def _bounded_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; cut a line that is too long, but keep its excess over `LONGEST_LINE` visible."""
    while line := file.readline(LONGEST_LINE + 2):
        yield line
        while len(line) > LONGEST_LINE + 1 and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 2)


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


async def _greet(stub: _Stub, metadata: _Metadata, server: str) -> None:
    try:
        request = backup_catalog_pb2.ListBackupsRequest(limit=1)
        await stub.ListBackups(request, metadata=metadata, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise CannotImport(f"{server}: {failure_of(error, '', CALL_SECONDS, server).message}") from None
