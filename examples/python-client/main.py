"""The steps of examples/README.md with the Python client, backupsharing.client."""

import os
import sys
import uuid

import grpc

from backupsharing.client import AlreadyShared, Backup, BackupSharingError, Client, SharingNotFound


class Pages(grpc.UnaryUnaryClientInterceptor):
    """Counts the pages that a client requests, only for the output: the client follows pages by itself."""

    count = 0

    def intercept_unary_unary(self, continuation, details, request):  # noqa: ANN001, ANN201 - short, as an example
        """Count a page, and pass the call on."""
        self.count += details.method.endswith("/ListSharings")
        return continuation(details, request)


def main() -> None:
    """Run all steps, and print a line for each."""
    server = os.environ["BACKUP_SHARING_GRPC"]
    project, token = os.environ["BACKUP_SHARING_PROJECT"], os.environ["BACKUP_SHARING_TOKEN"]
    recipient, recipient_token = os.environ["BACKUP_SHARING_RECIPIENT"], os.environ["BACKUP_SHARING_RECIPIENT_TOKEN"]
    other = os.environ["BACKUP_SHARING_OTHER"]
    run = f"python-client-{uuid.uuid4()}"
    first, *more = (str(uuid.uuid4()) for _ in range(3))

    with Client(server, token=os.environ["BACKUP_SHARING_SERVICE_TOKEN"]) as service:
        for backup_id in (first, *more):
            service.put_backup(Backup(id=backup_id, project_id=project, status="available", name=run))
    print("put", first)

    with (
        Client(server, project=project, token=token) as giver,
        grpc.insecure_channel(server) as plain,
    ):
        shared = giver.share(first, [recipient, other], timeout=10, idempotency_key=run)
        for backup_id in more:
            giver.share(backup_id, [recipient], timeout=10)
        print("shared", len(shared))

        try:
            giver.share(first, [recipient])
            sys.exit("sharing twice did not fail")
        except AlreadyShared as failure:
            print("conflict", failure.reason, failure.code)

        pages = Pages()
        channel = grpc.intercept_channel(plain, pages)
        receiver = Client(channel=channel, project=recipient, token=recipient_token)
        listed = [sharing.backup_id for sharing in receiver.list(received=True, name=run, page_size=2)]
        if set(listed) != {first, *more}:
            sys.exit(f"the recipient sees {listed}")
        print("listed", len(listed), "in", pages.count, "pages")

        access = receiver.check_access(first, recipient)
        if access.sharing_id != shared[0].id:
            sys.exit(f"the recipient may read the backup because of {access}")
        print("checked", "yes" if access else "no")

        ended = giver.cancel(shared[0].id)
        print("cancelled", 0 if ended.is_active else 1)

        try:
            giver.get(ended.id)
            sys.exit("a cancelled sharing is still there")
        except SharingNotFound as failure:
            print("gone", failure.reason)

        with receiver.watch(backup_id=first, cursor=access.cursor) as events:
            print("watched", next(events).kind)


if __name__ == "__main__":
    try:
        main()
    except BackupSharingError as failure:
        sys.exit(f"{failure.reason or failure.status.name} {failure.code}: {failure.message} ({failure.request_id})")
