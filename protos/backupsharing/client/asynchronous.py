"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc

from backupsharing.client import calls
from backupsharing.client.calls import PAGE_SIZE, Call, Page
from backupsharing.client.door import Door, File, metadata_of
from backupsharing.client.errors import closed, failure_of
from backupsharing.client.model import Backup, OnConflict, Sharing, SharingDetail, SharingFilter, SortDir, SortKey
from backupsharing.client.retrying import TIMEOUT, Attempts, Retrying

Result = TypeVar("Result")
Item = TypeVar("Item")


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
            BadDoor: the files do not belong together or cannot be read, or plain text is not allowed.
        """
        if bool(target) == (channel is not None):
            raise ValueError("expected is either a target or a channel")
        self._is_closed = False
        self._project, self._token, self._timeout, self._retrying = project, token, timeout, retrying
        self._target, self._is_own = target, channel is None
        self._channel = channel
        # Bad files raise here; the channel is opened later, because it belongs to a running loop.
        self._open = Door(target, ca, certificate, key, insecure or channel is not None).aio_opener()

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
        self._is_closed = True
        if self._is_own and self._channel is not None:
            await self._channel.close()

    async def share(
        self,
        backup_id: str,
        project_ids: Sequence[str],
        *,
        idempotency_key: str | None = None,
        on_conflict: OnConflict | None = None,
        timeout: float | None = None,
    ) -> tuple[Sharing, ...]:
        """See `Client.share`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> sharing.to_project_id == recipient
        True
        """
        return await self._do(calls.share(self._project, backup_id, project_ids, idempotency_key, on_conflict), timeout)

    async def cancel(
        self, sharing_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> Sharing:
        """See `Client.cancel`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> (await client.cancel(sharing.id)).is_active
        False
        """
        return await self._do(calls.cancel(self._project, sharing_id, idempotency_key), timeout)

    async def cancel_all(
        self, backup_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> tuple[Sharing, ...]:
        """See `Client.cancel_all`.

        >>> await client.cancel_all(backup_id)
        ()
        """
        return await self._do(calls.cancel_all(self._project, backup_id, idempotency_key), timeout)

    async def get(self, sharing_id: str, *, timeout: float | None = None) -> SharingDetail:
        """See `Client.get`.

        >>> sharing, = await client.share(backup_id, [recipient])
        >>> (await client.get(sharing.id)).backup.status
        'available'
        """
        return await self._do(calls.get(self._project, sharing_id), timeout)

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
        return self._all(calls.list_sharings(self._project, which, sort_key, sort_dir, page_size), timeout)

    async def count(self, *, timeout: float | None = None, **which: Unpack[SharingFilter]) -> int:
        """See `Client.count`.

        >>> await client.count(received=True, status="available")
        0
        """
        return await self._do(calls.count(self._project, which), timeout)

    async def put_backup(self, backup: Backup, *, timeout: float | None = None) -> Backup:
        """See `Client.put_backup`.

        >>> (await service.put_backup(Backup(id=new_backup_id, project_id=giver, status="creating"))).status
        'creating'
        """
        return await self._do(calls.put_backup(backup), timeout)

    async def get_backup(self, backup_id: str, *, timeout: float | None = None) -> Backup:
        """See `Client.get_backup`.

        >>> (await service.get_backup(backup_id)).project_id == giver
        True
        """
        return await self._do(calls.get_backup(backup_id), timeout)

    def list_backups(
        self, project_id: str = "", *, page_size: int = PAGE_SIZE, timeout: float | None = None
    ) -> AsyncIterator[Backup]:
        """See `Client.list_backups`.

        >>> [backup.id == backup_id async for backup in service.list_backups(giver)]
        [True]
        """
        return self._all(calls.list_backups(project_id, page_size), timeout)

    async def remove_backup(self, backup_id: str, *, timeout: float | None = None) -> tuple[Sharing, ...]:
        """See `Client.remove_backup`.

        >>> await service.remove_backup(backup_id)
        ()
        """
        return await self._do(calls.remove_backup(backup_id), timeout)

    async def _all(self, page_of: Callable[[str], Call[Page[Item]]], timeout: float | None) -> AsyncIterator[Item]:
        token, is_last = "", False
        while not is_last:
            page = await self._do(page_of(token), timeout)
            for item in page.items:
                yield item
            token, is_last = page.next_token, not page.next_token

    async def _do(self, call: Call[Result], timeout: float | None) -> Result:
        attempts = Attempts(
            self._retrying,
            self._timeout if timeout is None else timeout,
            is_repeatable=call.is_repeatable,
            idempotency_key=call.idempotency_key,
        )
        request = call.request.SerializeToString()
        while True:
            metadata = metadata_of(await self._fresh_token(attempts))
            if self._is_closed:
                raise closed(call.idempotency_key)
            if self._channel is None:
                self._channel = self._open()
            send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(call.method)
            try:
                answer = await send(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = failure_of(error, call.idempotency_key, attempts.timeout, self._target)
            except asyncio.CancelledError:
                # Closing the channel also cancels its calls, although nobody cancelled their tasks.
                if not self._is_closed or _is_cancelled():
                    raise
                raise closed(call.idempotency_key) from None
            else:
                return call.result(answer)
            await asyncio.sleep(attempts.pause_after(failure))

    async def _fresh_token(self, attempts: Attempts) -> str:
        if isinstance(self._token, str):
            return self._token
        token = self._token()
        if isinstance(token, str):
            return token
        try:
            async with asyncio.timeout(attempts.remaining()) as scope:
                return await token
        except TimeoutError:
            if not scope.expired():
                # The token function raised this TimeoutError itself.
                raise
            raise attempts.too_late() from None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
