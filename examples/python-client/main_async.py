"""The same as main.py for asyncio; independent calls are sent concurrently."""

import asyncio
import os
import sys
import uuid

import grpc

from backupsharing.client import AlreadyShared, AsyncClient, Backup, BackupSharingError, SharingNotFound


class Pages(grpc.aio.UnaryUnaryClientInterceptor):
    """Counts the pages that a client requests, only for the output: the client follows pages by itself."""

    count = 0

    async def intercept_unary_unary(self, continuation, details, request):  # noqa: ANN001, ANN201 - as an example
        """Count a page, and pass the call on."""
        method = details.method if isinstance(details.method, str) else details.method.decode()
        self.count += method.endswith("/ListSharings")
        return await continuation(details, request)


async def main() -> None:
    """Run all steps, and print a line for each."""
    server = os.environ["BACKUP_SHARING_GRPC"]
    project, token = os.environ["BACKUP_SHARING_PROJECT"], os.environ["BACKUP_SHARING_TOKEN"]
    recipient, recipient_token = os.environ["BACKUP_SHARING_RECIPIENT"], os.environ["BACKUP_SHARING_RECIPIENT_TOKEN"]
    other = os.environ["BACKUP_SHARING_OTHER"]
    run = f"python-async-client-{uuid.uuid4()}"
    first, *more = ids = [str(uuid.uuid4()) for _ in range(3)]

    async with AsyncClient(server, token=os.environ["BACKUP_SHARING_SERVICE_TOKEN"]) as service:
        backups = [Backup(id=one, project_id=project, status="available", name=run) for one in ids]
        await asyncio.gather(*(service.put_backup(backup) for backup in backups))
    print("put", first)

    pages = Pages()
    async with (
        AsyncClient(server, project=project, token=token) as giver,
        grpc.aio.insecure_channel(server, interceptors=[pages]) as channel,
    ):
        shared, *_ = await asyncio.gather(
            giver.share(first, [recipient, other], timeout=10, idempotency_key=run),
            *(giver.share(backup_id, [recipient], timeout=10) for backup_id in more),
        )
        print("shared", len(shared))

        try:
            await giver.share(first, [recipient])
            sys.exit("sharing twice did not fail")
        except AlreadyShared as failure:
            print("conflict", failure.reason, failure.code)

        receiver = AsyncClient(channel=channel, project=recipient, token=recipient_token)
        listed = [sharing.backup_id async for sharing in receiver.list(received=True, name=run, page_size=2)]
        if set(listed) != set(ids):
            sys.exit(f"the recipient sees {listed}")
        print("listed", len(listed), "in", pages.count, "pages")

        access = await receiver.check_access(first, recipient)
        if access.sharing_id != shared[0].id:
            sys.exit(f"the recipient may read the backup because of {access}")
        print("checked", "yes" if access else "no")

        ended = await giver.cancel(shared[0].id)
        print("cancelled", 0 if ended.is_active else 1)

        try:
            await giver.get(ended.id)
            sys.exit("a cancelled sharing is still there")
        except SharingNotFound as failure:
            print("gone", failure.reason)

        async with receiver.watch(backup_id=first, cursor=access.cursor) as events:
            print("watched", (await anext(events)).kind)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except BackupSharingError as failure:
        sys.exit(f"{failure.reason or failure.status.name} {failure.code}: {failure.message} ({failure.request_id})")
