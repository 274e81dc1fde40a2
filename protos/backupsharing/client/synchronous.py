"""The client with blocking calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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


class Client:
    """Shares backups. Calls block until they are done. Several threads may use one client.

    Reads are retried after transient failures (`Unavailable`). So are `share`, `cancel` and `cancel_all`: their
    idempotency key prevents a second execution. Every call raises a subclass of `BackupSharingError` if it fails,
    and takes a ``timeout``: the seconds for the call with all its retries.

    >>> with Client(target, project=giver, token=token) as own:
    ...     own.count()
    0
    """

    def __init__(
        self,
        target: str = "",
        *,
        project: str = "",
        token: str | Callable[[], str] = "",
        ca: File | None = None,
        certificate: File | None = None,
        key: File | None = None,
        insecure: bool = False,
        channel: grpc.Channel | None = None,
        timeout: float = TIMEOUT,
        retrying: Retrying = Retrying(),  # noqa: B008 - it is frozen
    ) -> None:
        """Create a client. The first call connects.

        Args:
            target: ``HOST:PORT`` of the server, or ``unix:PATH``. Calls take turns between all addresses of a name;
                ``IP:PORT,IP:PORT`` names several servers.
            project: id of the project that shares, cancels and lists; not needed for calls about backups.
            token: the caller's token, or a function that returns one. The function is called before each attempt.
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
        self._channel = channel or Door(target, ca, certificate, key, insecure).channel()

    def __enter__(self) -> Self:
        """Return the client; the end of the context closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the connection. Calls in progress and later calls fail.

        >>> Client(target).close()
        """
        self._is_closed = True
        if self._is_own:
            self._channel.close()

    def share(
        self,
        backup_id: str,
        project_ids: Sequence[str],
        *,
        idempotency_key: str | None = None,
        on_conflict: OnConflict | None = None,
        timeout: float | None = None,
    ) -> tuple[Sharing, ...]:
        """Share a backup with projects, all or nothing. Return a sharing for each project, in the same order.

        Args:
            backup_id: id of a backup that the client's project owns.
            project_ids: ids of the recipients.
            idempotency_key: a call with the same key and request returns the first result again, for a day. Default:
                a new key.
            on_conflict: for recipients that already have the backup, ``return`` the existing sharings, or ``refuse``
                the call. Default: the setting of the server.
            timeout: seconds.

        Raises:
            AlreadyShared: recipients already have the backup, and the call does not return existing sharings.
            BackupNotFound: the project has no such backup.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> sharing.to_project_id == recipient
        True
        """
        return self._do(calls.share(self._project, backup_id, project_ids, idempotency_key, on_conflict), timeout)

    def cancel(self, sharing_id: str, *, idempotency_key: str | None = None, timeout: float | None = None) -> Sharing:
        """Cancel a sharing that the project gave. Return the cancelled sharing.

        Raises:
            SharingNotFound: no active sharing has this id.
            NotAllowed: the project is the recipient of the sharing.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> client.cancel(sharing.id).is_active
        False
        """
        return self._do(calls.cancel(self._project, sharing_id, idempotency_key), timeout)

    def cancel_all(
        self, backup_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> tuple[Sharing, ...]:
        """Cancel all active sharings of a backup. Return the cancelled sharings.

        Raises:
            BackupNotFound: the project has no such backup.

        >>> client.cancel_all(backup_id)
        ()
        """
        return self._do(calls.cancel_all(self._project, backup_id, idempotency_key), timeout)

    def get(self, sharing_id: str, *, timeout: float | None = None) -> SharingDetail:
        """Get an active sharing that the project gave or received.

        Raises:
            SharingNotFound: no such sharing has this id.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> client.get(sharing.id).backup.status
        'available'
        """
        return self._do(calls.get(self._project, sharing_id), timeout)

    def list(
        self,
        *,
        sort_key: SortKey | None = None,
        sort_dir: SortDir | None = None,
        page_size: int = PAGE_SIZE,
        timeout: float | None = None,
        **which: Unpack[SharingFilter],
    ) -> Iterator[SharingDetail]:
        """List active sharings, by default the newest first. Pages are fetched during the iteration.

        Args:
            sort_key: field to sort by.
            sort_dir: sort direction.
            page_size: number of sharings in a page, at most 1000.
            timeout: seconds for each page.
            which: filters, see `SharingFilter`.

        >>> sharings = client.share(backup_id, [recipient, other])
        >>> [sharing.backup_id == backup_id for sharing in client.list(backup_id=backup_id, page_size=1)]
        [True, True]
        """
        return self._all(calls.list_sharings(self._project, which, sort_key, sort_dir, page_size), timeout)

    def count(self, *, timeout: float | None = None, **which: Unpack[SharingFilter]) -> int:
        """Count the sharings that `list` returns with the same filters.

        >>> client.count(received=True, status="available")
        0
        """
        return self._do(calls.count(self._project, which), timeout)

    def put_backup(self, backup: Backup, *, timeout: float | None = None) -> Backup:
        """Create a backup, or replace all its fields. Needs the role ``service``. Never retried automatically.

        Raises:
            BackupOwnerFixed: the backup belongs to another project.
            ValueError: a time has no time zone.

        >>> service.put_backup(Backup(id=new_backup_id, project_id=giver, status="creating")).status
        'creating'
        """
        return self._do(calls.put_backup(backup), timeout)

    def get_backup(self, backup_id: str, *, timeout: float | None = None) -> Backup:
        """Get a backup of any project. Needs the role ``service``.

        Raises:
            BackupNotFound: no backup has this id.

        >>> service.get_backup(backup_id).project_id == giver
        True
        """
        return self._do(calls.get_backup(backup_id), timeout)

    def list_backups(
        self, project_id: str = "", *, page_size: int = PAGE_SIZE, timeout: float | None = None
    ) -> Iterator[Backup]:
        """List the backups of a project, or of all, by id; needs the role ``service``.

        A page is asked for when it is needed; ``timeout`` is for each.

        >>> [backup.id == backup_id for backup in service.list_backups(giver)]
        [True]
        """
        return self._all(calls.list_backups(project_id, page_size), timeout)

    def remove_backup(self, backup_id: str, *, timeout: float | None = None) -> tuple[Sharing, ...]:
        """Remove a backup. Return the sharings that ended. Needs the role ``service``.

        Never retried automatically, because a second attempt would fail with `BackupNotFound`.

        Raises:
            BackupNotFound: no backup has this id.

        >>> service.remove_backup(backup_id)
        ()
        """
        return self._do(calls.remove_backup(backup_id), timeout)

    def _all(self, page_of: Callable[[str], Call[Page[Item]]], timeout: float | None) -> Iterator[Item]:
        token, is_last = "", False
        while not is_last:
            page = self._do(page_of(token), timeout)
            yield from page.items
            token, is_last = page.next_token, not page.next_token

    def _do(self, call: Call[Result], timeout: float | None) -> Result:
        attempts = Attempts(
            self._retrying,
            self._timeout if timeout is None else timeout,
            is_repeatable=call.is_repeatable,
            idempotency_key=call.idempotency_key,
        )
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(call.method)
        request = call.request.SerializeToString()
        while True:
            metadata = metadata_of(self._token if isinstance(self._token, str) else self._token())
            if self._is_closed:
                raise closed(call.idempotency_key)
            try:
                answer = send(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = failure_of(error, call.idempotency_key, attempts.timeout, self._target)
            except ValueError:
                # The channel raises this if another thread has just closed it.
                if not self._is_closed:
                    raise
                raise closed(call.idempotency_key) from None
            else:
                return call.result(answer)
            # Outside of the handler, so that the raised failure has no other exception as its context.
            if self._is_closed and failure.status is grpc.StatusCode.CANCELLED:
                raise closed(call.idempotency_key)
            time.sleep(attempts.pause_after(failure))
