"""The client with blocking calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from backupsharing.client.sending.blocking import Sender
from backupsharing.client.watching.blocking import Watch
from backupsharing.client.watching.progress import IDLE_TIMEOUT, Course


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
            BadEndpoint: the files do not belong together or cannot be read, or plain text is not allowed.
        """
        if bool(target) == (channel is not None):
            raise ValueError("expected is either a target or a channel")
        self._project = project
        self._sender = Sender(
            channel or Endpoint(target, ca, certificate, key, insecure).channel(),
            is_own=channel is None,
            target=target,
            token=token,
            timeout=timeout,
            retrying=retrying,
        )

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
        self._sender.close()

    def share(
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
        """Share a backup with projects, all or nothing. Return a sharing for each project, in the same order.

        Args:
            backup_id: id of a backup that the client's project owns.
            project_ids: ids of the recipients.
            idempotency_key: a call with the same key and request returns the first result again, for a day. Default:
                a new key.
            on_conflict: for recipients that already have the backup, ``return`` the existing sharings, or ``refuse``
                the call. Default: the setting of the server.
            expires_at: the time when the new sharings end by themselves, or the time from now until then. Default: the
                setting of the server.
            validate_only: make all checks, and store nothing. New sharings then have an empty id.
            timeout: seconds.

        Raises:
            AlreadyShared: recipients already have the backup, and the call does not return existing sharings.
            BackupNotFound: the project has no such backup.
            ValueError: ``expires_at`` has no time zone; or it is a timedelta although there is an idempotency key,
                with which a second call must have the same time.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> sharing.to_project_id == recipient
        True
        """
        end = calls.expiry(expires_at, idempotency_key)
        share = calls.share(self._project, backup_id, project_ids, idempotency_key, on_conflict, end, validate_only)
        return self._sender.do(share, timeout)

    def cancel(
        self,
        sharing_id: str,
        *,
        idempotency_key: str | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> Sharing:
        """Cancel a sharing that the project gave. Return the cancelled sharing.

        With ``validate_only``, make all checks, store nothing, and return the sharing as it would be.

        Raises:
            SharingNotFound: no active sharing has this id.
            NotAllowed: the project is the recipient of the sharing.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> client.cancel(sharing.id).is_active
        False
        """
        return self._sender.do(calls.cancel(self._project, sharing_id, idempotency_key, validate_only), timeout)

    def cancel_all(
        self,
        backup_id: str,
        *,
        idempotency_key: str | None = None,
        validate_only: bool = False,
        timeout: float | None = None,
    ) -> tuple[Sharing, ...]:
        """Cancel all active sharings of a backup. Return the cancelled sharings. ``validate_only``: see `cancel`.

        Raises:
            BackupNotFound: the project has no such backup.

        >>> client.cancel_all(backup_id)
        ()
        """
        return self._sender.do(calls.cancel_all(self._project, backup_id, idempotency_key, validate_only), timeout)

    def get(self, sharing_id: str, *, timeout: float | None = None) -> SharingDetail:
        """Get an active sharing that the project gave or received.

        Raises:
            SharingNotFound: no such sharing has this id.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> client.get(sharing.id).backup.status
        'available'
        """
        return self._sender.do(calls.get(self._project, sharing_id), timeout)

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
        return self._sender.all(calls.list_sharings(self._project, which, sort_key, sort_dir, page_size), timeout)

    def count(self, *, timeout: float | None = None, **which: Unpack[SharingFilter]) -> int:
        """Count the sharings that `list` returns with the same filters.

        >>> client.count(received=True, status="available")
        0
        """
        return self._sender.do(calls.count(self._project, which), timeout)

    def check_access(self, backup_id: str, project_id: str, *, timeout: float | None = None) -> Access:
        """Return whether a project may read a backup: it owns the backup, or has an active sharing of it.

        "No" is an answer, also for a backup that does not exist. Projects may ask about themselves and about backups
        that they own; for other questions the answer is "no", except for the roles ``service`` and ``admin``.

        >>> sharing, = client.share(backup_id, [recipient])
        >>> access = client.check_access(backup_id, recipient)
        >>> bool(access), access.basis, access.sharing_id == sharing.id
        (True, 'sharing', True)
        """
        return self._sender.do(access.check_access(backup_id, project_id), timeout)

    def check_access_many(
        self, pairs: Iterable[tuple[str, str]], *, timeout: float | None = None
    ) -> tuple[Access, ...]:
        """Check 1 to 1000 pairs of a backup id and a project id, in one call and from one state, in their order.

        >>> owned, other_backup = client.check_access_many([(backup_id, giver), (new_backup_id, giver)])
        >>> owned.basis, other_backup.allowed
        ('owner', False)
        """
        return self._sender.do(access.check_access_many(pairs), timeout)

    def history(
        self,
        *,
        sort_dir: SortDir | None = None,
        page_size: int = PAGE_SIZE,
        timeout: float | None = None,
        **which: Unpack[EventFilter],
    ) -> Iterator[SharingEvent]:
        """List past events, by default the newest first. Pages are fetched during the iteration.

        A project gets the events of what it gave, and of what it received. Without a project, the roles ``service``
        and ``admin`` get the events of all projects.

        Args:
            sort_dir: ``asc`` for the oldest event first.
            page_size: number of events in a page, at most 1000.
            timeout: seconds for each page.
            which: filters, see `EventFilter`.

        Raises:
            CursorExpired: the server deleted events during the iteration.
            ValueError: a time has no time zone.

        >>> sharings = client.share(backup_id, [recipient, other])
        >>> [event.to_project_id == recipient for event in client.history(kind="shared", sort_dir="asc")]
        [True, False]
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
    ) -> Watch:
        """Watch events as they happen, of the same projects as `history`. Return an iterator that never ends by itself.

        When the stream breaks, the watch opens another one from its last cursor, for as long as it takes. It fails as
        any call does while there was no response yet, and later with failures that do not pass.

        Args:
            cursor: begin after this place. Default: only events from now on.
            from_beginning: begin with the oldest event that the server keeps.
            backup_id: only events of this backup.
            kind: only events of this kind.
            on_checkpoint: function that is called with the cursor of each response without an event.
            on_reconnect: function that is called after the stream broke, with the failure and the seconds until the
                next attempt. An exception of a function ends the iteration.
            idle_timeout: seconds without a response after which the watch opens another stream; more than the server's
                time between checkpoints.

        Raises:
            CursorExpired: the server no longer keeps all events after the cursor.
            NotAuthenticated: the token is no longer valid. A token function is asked once for another token.

        >>> with client.watch(backup_id=backup_id) as watch:
        ...     sharing, = client.share(backup_id, [recipient])
        ...     event = next(watch)
        >>> event.kind, event.sharing_id == sharing.id, event.cursor == watch.cursor
        ('shared', True, True)
        """
        return Watch(
            self._sender,
            Course(self._project, cursor, from_beginning, backup_id, kind, idle_timeout, on_checkpoint, on_reconnect),
        )

    def put_backup(self, backup: Backup, *, timeout: float | None = None) -> Backup:
        """Create a backup, or replace all its fields. Needs the role ``service``. Never retried automatically.

        Raises:
            BackupOwnerFixed: the backup belongs to another project.
            ValueError: a time has no time zone.

        >>> service.put_backup(Backup(id=new_backup_id, project_id=giver, status="creating")).status
        'creating'
        """
        return self._sender.do(calls.put_backup(backup), timeout)

    def get_backup(self, backup_id: str, *, timeout: float | None = None) -> Backup:
        """Get a backup of any project. Needs the role ``service``.

        Raises:
            BackupNotFound: no backup has this id.

        >>> service.get_backup(backup_id).project_id == giver
        True
        """
        return self._sender.do(calls.get_backup(backup_id), timeout)

    def list_backups(
        self, project_id: str = "", *, page_size: int = PAGE_SIZE, timeout: float | None = None
    ) -> Iterator[Backup]:
        """List the backups of a project, or of all, by id; needs the role ``service``.

        A page is asked for when it is needed; ``timeout`` is for each.

        >>> [backup.id == backup_id for backup in service.list_backups(giver)]
        [True]
        """
        return self._sender.all(calls.list_backups(project_id, page_size), timeout)

    def remove_backup(self, backup_id: str, *, timeout: float | None = None) -> tuple[Sharing, ...]:
        """Remove a backup. Return the sharings that ended. Needs the role ``service``.

        Never retried automatically, because a second attempt would fail with `BackupNotFound`.

        Raises:
            BackupNotFound: no backup has this id.

        >>> service.remove_backup(backup_id)
        ()
        """
        return self._sender.do(calls.remove_backup(backup_id), timeout)
