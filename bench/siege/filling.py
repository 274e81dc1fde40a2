"""What an attack finds on a server: put there by calls, so that any version and any engine can be filled."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

import grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_pb2 import Backup
from bench.job import OWNER, backup_id, owned_backup
from bench.siege.attacks.connections import SHARE
from bench.siege.cast import (
    ATTACKER,
    CATALOGUE_TOKEN,
    FLOODED_BACKUPS,
    LARGE_BACKUPS,
    MEMBER_TOKEN,
    OTHER,
    OTHER_BACKUPS,
    SHARED_BACKUPS,
    Target,
)
from bench.siege.catalogue import Place

_PUT = "/backupsharing.v2.BackupCatalogService/PutBackup"
_AT_ONCE = 32
_METADATA = 65_000
"""Characters, a little less than may be."""


def fill(target: Target, place: Place) -> None:
    """Put and share everything that is to be there."""
    asyncio.run(_fill(target, place))


async def _fill(target: Target, place: Place) -> None:
    async with grpc.aio.insecure_channel(target.grpc) as channel:
        small = [(OTHER, one, 0) for one in OTHER_BACKUPS]
        small += [(ATTACKER, one, 0) for one in (*SHARED_BACKUPS, *FLOODED_BACKUPS)]
        small += [(OWNER, backup_id(owned_backup(number)), 0) for number in range(place.owned)]
        large = [(ATTACKER, one, _METADATA) for one in LARGE_BACKUPS[: place.large_backups]]
        await _all(channel, _PUT, (_put(*one) for one in (*small, *large)), CATALOGUE_TOKEN)
        each = place.sharings // len(SHARED_BACKUPS)
        shared = [_share(one, each) for one in SHARED_BACKUPS if each]
        await _all(channel, SHARE, (*shared, *(_share(one, 1) for _, one, _ in large)), MEMBER_TOKEN)


def _put(project: str, backup: str, metadata: int) -> bytes:
    """Put a backup; metadata that JSON need not escape and gzip cannot guess."""
    text = secrets.token_urlsafe(metadata)[:metadata] if metadata else ""
    made = Backup(id=backup, project_id=project, status="available", name=f"backup-{backup[:8]}", size=10)
    if text:
        made.service_metadata = text
    return PutBackupRequest(backup=made).SerializeToString()


def _share(backup: str, recipients: int) -> bytes:
    to = [secrets.token_hex(16) for _ in range(recipients)]
    return pb.ShareBackupRequest(
        project_id=ATTACKER, shared=pb.BackupRecipients(to_project_ids=to, backup_id=backup)
    ).SerializeToString()


async def _all(channel: grpc.aio.Channel, path: str, requests: Iterable[bytes], token: str) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(request: bytes) -> None:
        async with room:
            await method(request, metadata=(("x-auth-token", token),), timeout=60, wait_for_ready=True)

    await asyncio.gather(*map(one, requests))
