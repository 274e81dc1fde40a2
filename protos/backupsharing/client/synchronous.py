"""The client whose calls block."""

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
    """Shares backups; a call returns when it is done. May be used by several threads at once.

    Reads are sent again after failures that pass (`Unavailable`), and so are `share` and the cancels, whose
    idempotency key keeps them from being done twice. Every call raises `BackupSharingError`, or rather one of its
    subclasses, when it fails, and takes a ``timeout``: the seconds it has with all its retries.

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
        channel: grpc.Channel | None = None,
        timeout: float = TIMEOUT,
        retrying: Retrying = Retrying(),  # noqa: B008 - it is frozen
    ) -> None:
        """Prepare; connects with the first call.

        Args:
            target: ``HOST:PORT`` of the server.
            project: whose sharings it is about; needed for all calls but those about backups.
            token: the caller's, or what gives one: asked before each attempt.
            ca: PEM file that signed the server's certificate; without it plain text is spoken.
            certificate: PEM file to show to the server, with ``key``.
            key: PEM file with the certificate's key.
            channel: to use instead of a target; stays open when the client is closed.
            timeout: seconds for a call that is told no other.
            retrying: when calls are sent again.

        Raises:
            BadDoor: the files do not belong together, or cannot be read.
        """
        if bool(target) == (channel is not None):
            raise ValueError("expected is either a target or a channel")
        self._is_closed = False
        self._project, self._token, self._timeout, self._retrying = project, token, timeout, retrying
        self._is_own = channel is None
        self._channel = channel or Door(target, ca, certificate, key).channel()

    def __enter__(self) -> Self:
        """Answer the client itself; it is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the connection; calls in progress fail, and so do later ones.

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
        """Share a backup with projects, all or nothing; answers a sharing for each, in the same order.

        Args:
            backup_id: of a backup that the client's project owns.
            project_ids: the recipients.
            idempotency_key: the same key and request give the first answer again, for a day; a new one if not given.
            on_conflict: ``return`` the standing sharings of recipients that have it already, or ``refuse``; as the
                server is set if not given.
            timeout: seconds.

        Raises:
            AlreadyShared: recipients have it already, and the call does not return standing sharings.
            BackupNotFound: the project has no such backup.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> sharing.to_project_id == recipient
        True
        """
        return self._do(calls.share(self._project, backup_id, project_ids, idempotency_key, on_conflict), timeout)

    def cancel(self, sharing_id: str, *, idempotency_key: str | None = None, timeout: float | None = None) -> Sharing:
        """Cancel a sharing that the project gave; answers it as it is now.

        Raises:
            SharingNotFound: there is no such active sharing.
            NotAllowed: the project is its recipient.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> client.cancel(sharing.id).is_active
        False
        """
        return self._do(calls.cancel(self._project, sharing_id, idempotency_key), timeout)

    def cancel_all(
        self, backup_id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> tuple[Sharing, ...]:
        """Cancel all active sharings of a backup; answers those that it ended.

        Raises:
            BackupNotFound: the project has no such backup.

        >>> client.cancel_all(backup_id)
        ()
        """
        return self._do(calls.cancel_all(self._project, backup_id, idempotency_key), timeout)

    def get(self, sharing_id: str, *, timeout: float | None = None) -> SharingDetail:
        """Get an active sharing that the project gave or got.

        Raises:
            SharingNotFound: there is none.

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
        """List active sharings, newest first unless sorted otherwise; a page is asked for when it is needed.

        Args:
            sort_key: what to order by.
            sort_dir: in which direction.
            page_size: how many are asked for at once, at most 1000.
            timeout: seconds for each page.
            which: see `SharingFilter`.

        >>> sharings = client.share(backup_id, [recipient, other])
        >>> [sharing.backup_id == backup_id for sharing in client.list(backup_id=backup_id, page_size=1)]
        [True, True]
        """
        return self._all(calls.list_sharings(self._project, which, sort_key, sort_dir, page_size), timeout)

    def count(self, *, timeout: float | None = None, **which: Unpack[SharingFilter]) -> int:
        """Count what `list` would give with the same filter.

        >>> client.count(received=True, status="available")
        0
        """
        return self._do(calls.count(self._project, which), timeout)

    def put_backup(self, backup: Backup, *, timeout: float | None = None) -> Backup:
        """Create a backup or replace what is known of it; needs the role ``service``. Never sent again by itself.

        Raises:
            BackupOwnerFixed: it belongs to another project.
            ValueError: a time has no time zone.

        >>> service.put_backup(Backup(id=new_backup_id, project_id=giver, status="creating")).status
        'creating'
        """
        return self._do(calls.put_backup(backup), timeout)

    def get_backup(self, backup_id: str, *, timeout: float | None = None) -> Backup:
        """Get a backup of any project; needs the role ``service``.

        Raises:
            BackupNotFound: there is none.

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
        """Remove a backup; answers the sharings that this ended. Needs the role ``service``.

        Never sent again by itself: the second time it would be `BackupNotFound`.

        Raises:
            BackupNotFound: there is none.

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
                failure = failure_of(error, call.idempotency_key)
            except ValueError:
                # So a channel says that another thread has closed it just now.
                if not self._is_closed:
                    raise
                raise closed(call.idempotency_key) from None
            else:
                return call.result(answer)
            # Outside of the handler: what is raised here is the failure, not a failure in handling another.
            if self._is_closed and failure.status is grpc.StatusCode.CANCELLED:
                raise closed(call.idempotency_key)
            time.sleep(attempts.pause_after(failure))
