"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, Unpack

import grpc

from backupsharing.client import access, calls
from backupsharing.client.calls import PAGE_SIZE
from backupsharing.client.endpoint import Endpoint, File
from backupsharing.client.errors import BackupSharingError
from backupsharing.client.model import (
    Access,
    Backup,
    EventFilter,
    EventKind,
    OnConflict,
    Sharing,
    SharingDetail,
    SharingEvent,
    SharingFilter,
    SortDir,
    SortKey,
)
from backupsharing.client.retrying import TIMEOUT, Retrying
from backupsharing.client.sending.awaited import AsyncSender
from backupsharing.client.watching.awaited import AsyncWatch
from backupsharing.client.watching.progress import IDLE_TIMEOUT, Course


class AsyncClient:
    """Shares backups, like `Client`, but for asyncio. Cancelling a task cancels the call that the task awaits.

    Reads are retried after transient failures (`Unavailable`). So are `share`, `cancel` and `cancel_all`: their
    idempotency key prevents a second execution. Every call raises a subclass of `BackupSharingError` if it fails,
    and takes a ``timeout``: the seconds for the call with all its retries.

    >>> async with AsyncClient(target, project=giver, token=token) as own:
    ...     await own.count()
    0
    """

    def __init__(
        self,
        target: str = "",
        *,
        project: str = "",
        token: str | Callable[[], str | Awaitable[str]] = "",
        ca: File | None = None,
        certificate: File | None = None,
        key: File | None = None,
        insecure: bool = False,
        channel: grpc.aio.Channel | None = None,
        timeout: float = TIMEOUT,
        retrying: Retrying = Retrying(),  # noqa: B008 - it is frozen
    ) -> None:
        """Create a client. The first call connects; all calls must run in the event loop of the first one.

        Args:
            target: ``HOST:PORT`` of the server, or ``unix:PATH``. Calls take turns between all addresses of a name;
                ``IP:PORT,IP:PORT`` names several servers.
            project: id of the project that shares, cancels and lists; not needed for calls about backups.
            token: the caller's token, or a function that returns a token or an awaitable of one. The function is
                called before each attempt.
            ca: PEM file with the CA of the server's certificate; None: plain text, only to this machine.
            certificate: PEM file with the client's certificate, together with ``key``.
            key: PEM file with the key of ``certificate``.
            insecure: whether to allow plain text to other machines; everybody between can then read the token.
            channel: a channel to use instead of ``target``. The client does not close it.
            timeout: default timeout of a call in seconds.
            retrying: number of attempts, and pauses between them.

        Raises:
            BadEndpoint: the files do not belong together or cannot be read, or plain text is not allowed.
        """
        if bool(target) == (channel is not None):
            raise ValueError("expected is either a target or a channel")
        self._project = project
        # Bad files raise here; the channel is opened later, because it belongs to a running loop.
        opener = Endpoint(target, ca, certificate, key, insecure or channel is not None).aio_opener()
        self._sender = AsyncSender(channel, opener, target=target, token=token, timeout=timeout, retrying=retrying)

    async def __aenter__(self) -> Self:
        """Return the client; the end of the context closes it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.close()

    async def close(self) -> None:
        """Close the connection. Calls in progress and later calls fail.

        >>> await AsyncClient(target).close()
        """
        await self._sender.close()

    async def share(
        self,
        backup_id: str,
        project_ids: Sequence[str],
        *,
        idempotency_key: str | None = None,
        on_conflict: OnConflict | None = None,
        expires_at: datetime | timedelta | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> tuple[Sharing, ...]:
        """See `Client.share`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> sharing.to_project_id == recipient
        True
        """
        end = calls.expiry(expires_at, idempotency_key)
        share = calls.share(self._project, backup_id, project_ids, idempotency_key, on_conflict, end, validate_only)
        return await self._sender.do(share, timeout)

    async def cancel(
        self,
        sharing_id: str,
        *,
        idempotency_key: str | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Sharing:
        """See `Client.cancel`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> (await client.cancel(sharing.id)).is_active
        False
        """
        return await self._sender.do(calls.cancel(self._project, sharing_id, idempotency_key, validate_only), timeout)

    async def cancel_all(
        self,
        backup_id: str,
        *,
        idempotency_key: str | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> tuple[Sharing, ...]:
        """See `Client.cancel_all`.

        >>> await client.cancel_all(backup_id)
        ()
        """
        return await self._sender.do(
            calls.cancel_all(self._project, backup_id, idempotency_key, validate_only), timeout
        )

    async def get(self, sharing_id: str, *, timeout: float | None = None) -> SharingDetail:
        """See `Client.get`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> (await client.get(sharing.id)).backup.status
        'available'
        """
        return await self._sender.do(calls.get(self._project, sharing_id), timeout)

    def list(
        self,
        *,
        sort_key: SortKey | None = None,
        sort_dir: SortDir | None = None,
        page_size: int = PAGE_SIZE,
        timeout: float | None = None,
        **which: Unpack[SharingFilter],
    ) -> AsyncIterator[SharingDetail]:
        """See `Client.list`.

        >>> sharings = await client.share(backup_id, [recipient, other])
        >>> [sharing.backup_id == backup_id async for sharing in client.list(backup_id=backup_id, page_size=1)]
        [True, True]
        """
        return self._sender.all(calls.list_sharings(self._project, which, sort_key, sort_dir, page_size), timeout)

    async def count(self, *, timeout: float | None = None, **which: Unpack[SharingFilter]) -> int:
        """See `Client.count`.

        >>> await client.count(received=True, status="available")
        0
        """
        return await self._sender.do(calls.count(self._project, which), timeout)

    async def check_access(self, backup_id: str, project_id: str, *, timeout: float | None = None) -> Access:
        """See `Client.check_access`.

        >>> (await client.check_access(backup_id, recipient)).allowed
        False
        """
        return await self._sender.do(access.check_access(backup_id, project_id), timeout)

    async def check_access_many(
        self, pairs: Iterable[tuple[str, str]], *, timeout: float | None = None
    ) -> tuple[Access, ...]:
        """See `Client.check_access_many`.

        >>> [access.allowed for access in await client.check_access_many([(backup_id, giver), (new_backup_id, giver)])]
        [True, False]
        """
        return await self._sender.do(access.check_access_many(pairs), timeout)

    def history(
        self,
        *,
        sort_dir: SortDir | None = None,
        page_size: int = PAGE_SIZE,
        timeout: float | None = None,
        **which: Unpack[EventFilter],
    ) -> AsyncIterator[SharingEvent]:
        """See `Client.history`.

        >>> sharings = await client.share(backup_id, [recipient, other])
        >>> [event.kind async for event in client.history(kind="shared", page_size=1)]
        ['shared', 'shared']
        """
        return self._sender.all(access.history(self._project, which, sort_dir, page_size), timeout)

    def watch(
        self,
        *,
        cursor: str | None = None,
        from_beginning: bool = False,
        backup_id: str | None = None,
        kind: EventKind | None = None,
        on_checkpoint: Callable[[str], None] | None = None,
        on_reconnect: Callable[[BackupSharingError, float], None] | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> AsyncWatch:
        """See `Client.watch`.

        >>> async with client.watch(backup_id=backup_id) as watch:
        ...     sharing, = await client.share(backup_id, [recipient])
        ...     (await anext(watch)).sharing_id == sharing.id
        True
        """
        return AsyncWatch(
            self._sender,
            Course(self._project, cursor, from_beginning, backup_id, kind, idle_timeout, on_checkpoint, on_reconnect),
        )

    async def put_backup(self, backup: Backup, *, timeout: float | None = None) -> Backup:
        """See `Client.put_backup`.

        >>> (await service.put_backup(Backup(id=new_backup_id, project_id=giver, status="creating"))).status
        'creating'
        """
        return await self._sender.do(calls.put_backup(backup), timeout)

    async def get_backup(self, backup_id: str, *, timeout: float | None = None) -> Backup:
        """See `Client.get_backup`.

        >>> (await service.get_backup(backup_id)).project_id == giver
        True
        """
        return await self._sender.do(calls.get_backup(backup_id), timeout)

    def list_backups(
        self, project_id: str = "", *, page_size: int = PAGE_SIZE, timeout: float | None = None
    ) -> AsyncIterator[Backup]:
        """See `Client.list_backups`.

        >>> [backup.id == backup_id async for backup in service.list_backups(giver)]
        [True]
        """
        return self._sender.all(calls.list_backups(project_id, page_size), timeout)

    async def remove_backup(self, backup_id: str, *, timeout: float | None = None) -> tuple[Sharing, ...]:
        """See `Client.remove_backup`.

        >>> await service.remove_backup(backup_id)
        ()
        """
        return await self._sender.do(calls.remove_backup(backup_id), timeout)
