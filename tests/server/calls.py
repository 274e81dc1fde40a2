"""Calls into a pipeline, directly or through a real gRPC server and a channel with default options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import Message

from backup_sharing.identity.interface import Peer
from backup_sharing.rpc import catalog_service, sharing_service, unary
from backup_sharing.rpc.pipeline import Pipeline, PipelineResult, ServedMethod, UnaryCall
from backupsharing.v2 import backup_catalog_pb2, backup_sharing_pb2
from backupsharing.v2.backup_pb2 import Backup
from restmap.multiplexing.traffic import Traffic
from tests.server.failure_details import FailureDetails, failure_details
from tests.server.identities import BACKUP, GIVER, RECIPIENT, REQUEST_ID

SHARE = f"/{sharing_service.SERVICE}/ShareBackup"
CANCEL = f"/{sharing_service.SERVICE}/CancelSharing"
LIST = f"/{sharing_service.SERVICE}/ListSharings"
COUNT = f"/{sharing_service.SERVICE}/CountSharings"
GET = f"/{sharing_service.SERVICE}/GetSharing"
GIVERS_TOKEN = "giver-token"
GATEWAY = Peer("unix:/run/gateway.sock")
"""A trusted peer: the server accepts its request ids."""

ANYBODY = Peer("ipv4:127.0.0.1:1")
PUT = f"/{catalog_service.SERVICE}/PutBackup"


def call(method: str, request: Message | bytes, token: str = GIVERS_TOKEN, **members: object) -> UnaryCall:
    metadata = {"x-openstack-request-id": REQUEST_ID} | ({"x-auth-token": token} if token else {})
    given = {"metadata": metadata, "deadline": None, "peer": GATEWAY} | members
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    return UnaryCall(method=method, request=raw, **given)  # type: ignore[arg-type]  # keyword members


def failure(answer: PipelineResult) -> FailureDetails:
    assert answer.status is not None, "the call succeeded"
    assert answer.response == b""
    assert dict(answer.trailers)["grpc-status-details-bin"] == answer.status.details
    return failure_details(answer.status.details)


def share_message(
    *to: str, of: str = BACKUP, by: str = GIVER, **members: object
) -> backup_sharing_pb2.ShareBackupRequest:
    shared = backup_sharing_pb2.BackupRecipients(backup_id=of, to_project_ids=to or (RECIPIENT,))
    return backup_sharing_pb2.ShareBackupRequest(project_id=by, shared=shared, **members)  # type: ignore[arg-type]  # keyword members


def cancel_message(id: str, by: str = GIVER, **members: object) -> backup_sharing_pb2.CancelSharingRequest:
    return backup_sharing_pb2.CancelSharingRequest(project_id=by, id=id, **members)  # type: ignore[arg-type]  # keyword members


def put_message(**members: object) -> backup_catalog_pb2.PutBackupRequest:
    named: Mapping[str, object] = {"id": BACKUP, "project_id": GIVER, "status": "available"} | members
    return backup_catalog_pb2.PutBackupRequest(backup=Backup(**named))  # type: ignore[arg-type]  # keyword members


@asynccontextmanager
async def serving(fill: Callable[[grpc.aio.Server], None]) -> AsyncIterator[str]:
    """Start a server with the handlers that ``fill`` adds; yield the server's address."""
    server = grpc.aio.server()
    fill(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def channel_to(fill: Callable[[grpc.aio.Server], None]) -> AsyncIterator[grpc.aio.Channel]:
    """Start a server, and yield a channel to it."""
    async with serving(fill) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@asynccontextmanager
async def channel_into(pipeline: Pipeline, methods: Sequence[ServedMethod]) -> AsyncIterator[grpc.aio.Channel]:
    """Serve the methods of a pipeline as native gRPC; yield a channel."""
    handlers = tuple(unary.handlers(pipeline, methods, Traffic()))
    async with channel_to(lambda server: server.add_generic_rpc_handlers(handlers)) as channel:
        yield channel
