"""Any value that a caller sends is accepted or refused; no engine reports a defect or lost data for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_sharing.identity.interface import Peer
from backup_sharing.rpc import catalog_service, sharing_service
from backup_sharing.rpc.pipeline import Pipeline, UnaryCall
from backup_sharing.rules.commands import OnConflict, PutBackup
from backup_sharing.store.interface import Store
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.sharing import SORT_KEYS, SharingLimits, Sharings
from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_pb2 import Backup
from tests.server.identities import BACKUP, GIVER, MADE_REQUEST_ID, RECIPIENT, SECOND_BACKUP, Clock, Ids, identity
from tests.store import commands
from tests.store.both import Both
from tests.support.effort import cases

LIST = f"/{sharing_service.SERVICE}/ListSharings"
COUNT = f"/{sharing_service.SERVICE}/CountSharings"
GET = f"/{sharing_service.SERVICE}/GetSharing"
SHARE = f"/{sharing_service.SERVICE}/ShareBackup"
CANCEL = f"/{sharing_service.SERVICE}/CancelSharing"
PUT = f"/{catalog_service.SERVICE}/PutBackup"
GET_BACKUP = f"/{catalog_service.SERVICE}/GetBackup"
BACKUPS = f"/{catalog_service.SERVICE}/ListBackups"

OURS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED"}

texts = st.text() | st.text("\x00\x01\x02 aAß%_\\\U0001f4be\uffff", max_size=300)
ids = st.sampled_from([BACKUP, SECOND_BACKUP, BACKUP.upper(), GIVER, RECIPIENT, ""]) | texts
numbers = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 2**31 - 1])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([2**63, -(2**63) - 1, ""])
)
any_json = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)
identifiers = st.sampled_from([BACKUP, BACKUP.upper(), "", "\x00", "\ud800", "zzz"]) | scalars

pytestmark = pytest.mark.filterwarnings("error")


def pipeline_on(store: Store) -> Pipeline:
    clock = Clock()
    sharings = Sharings(store, SharingLimits(), clock, Ids())
    catalog = Catalog(store, clock)
    methods = [
        *sharing_service.SharingService(sharings).methods(),
        *catalog_service.CatalogService(catalog).methods(),
    ]
    return Pipeline(methods, identity(), 1.0, lambda: MADE_REQUEST_ID)


async def outcome(pipeline: Pipeline, method: str, request: Message) -> tuple[str, Message | None]:
    token = "service-token" if "Catalog" in method else "giver-token"
    call = UnaryCall(method, request.SerializeToString(), {"x-auth-token": token}, None, Peer("ipv4:127.0.0.1:1"))
    answer = await pipeline.carry_out(call)
    if answer.status is not None:
        return answer.status.code.name, None
    if method == LIST:
        return "OK", pb.ListSharingsResponse.FromString(answer.response)
    return "OK", catalog_pb.ListBackupsResponse.FromString(answer.response) if method == BACKUPS else None


async def fill(store: Store) -> None:
    """Store two backups with one sharing each; one backup has no name and no size."""
    for number, (backup_id, members) in enumerate(((BACKUP, {"name": "n", "size": 1}), (SECOND_BACKUP, {}))):
        await store.put_backup(PutBackup(commands.backup(backup_id, **members), commands.cause()))
        sharing_ids = [f"01900000-0000-7000-8000-{number:012x}"]
        wanted = commands.share(RECIPIENT, backup_id=backup_id, sharing_ids=sharing_ids, on_conflict=OnConflict.RETURN)
        await store.share(wanted)


def with_members(token: str, *members: object) -> str:
    """Return a page token with the digest of ``token``, which anyone can read in it."""
    digest = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))[0]
    return base64.urlsafe_b64encode(json.dumps([digest, *members]).encode()).decode().rstrip("=")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(25))
@given(st.lists(st.tuples(any_json, identifiers), min_size=1, max_size=8), st.booleans())
def test_a_made_up_page_token_is_a_page_or_refused(
    both: Both, made_up: Sequence[tuple[object, object]], descending: bool
) -> None:
    for store in both.stores:
        both.runner.run(_page_tokens(store, made_up, "desc" if descending else "asc"))


async def _page_tokens(store: Store, made_up: Sequence[tuple[object, object]], direction: str) -> None:
    await fill(store)
    pipeline = pipeline_on(store)
    for key in SORT_KEYS:
        first = pb.ListSharingsRequest(project_id=GIVER, sort_key=key, sort_dir=direction, limit=1)
        _, page = await outcome(pipeline, LIST, first)
        assert isinstance(page, pb.ListSharingsResponse)
        for value, identifier in (*made_up, *((value, BACKUP) for value, _ in made_up)):
            token = with_members(page.next_page_token, value, identifier)
            request = pb.ListSharingsRequest(
                project_id=GIVER, sort_key=key, sort_dir=direction, limit=1, page_token=token
            )
            code, _ = await outcome(pipeline, LIST, request)
            assert code in ("OK", "INVALID_ARGUMENT"), (key, value, identifier)
    _, backups = await outcome(pipeline, BACKUPS, catalog_pb.ListBackupsRequest(limit=1))
    assert isinstance(backups, catalog_pb.ListBackupsResponse)
    for value, identifier in made_up:
        token = with_members(backups.next_page_token, value, identifier)
        code, _ = await outcome(pipeline, BACKUPS, catalog_pb.ListBackupsRequest(limit=1, page_token=token))
        assert code in ("OK", "INVALID_ARGUMENT"), (value, identifier)


filters = st.fixed_dictionaries(
    {},
    optional={
        "volume_id": texts,
        "name": texts,
        "status": texts,
        "backup_id": ids,
        "from_project_id": ids,
        "to_project_id": ids,
        "availability_zone": texts,
        "share_to_me": st.booleans(),
    },
)
backups = st.fixed_dictionaries(
    {"id": ids, "project_id": st.just(GIVER) | ids, "status": st.just("available") | texts},
    optional={
        "name": texts,
        "volume_id": texts,
        "description": texts,
        "service_metadata": texts,
        "container": texts,
        "size": numbers,
        "object_count": numbers,
        "created_at": st.fixed_dictionaries({"seconds": st.integers(-(2**63), 2**63 - 1), "nanos": numbers}),
    },
)
parts = st.fixed_dictionaries(
    {}, optional={"limit": numbers, "offset": numbers, "sort_key": st.sampled_from([*SORT_KEYS])}
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(60))
@given(filters, parts, backups, ids, st.lists(ids, max_size=3), texts)
def test_no_value_of_a_request_is_a_defect_or_lost_data(
    both: Both,
    which: dict[str, object],
    part: dict[str, object],
    backup: dict[str, object],
    identifier: str,
    recipients: list[str],
    key: str,
) -> None:
    requests = [
        (PUT, catalog_pb.PutBackupRequest(backup=Backup(**backup))),  # type: ignore[arg-type]  # keyword members
        (GET_BACKUP, catalog_pb.GetBackupRequest(backup_id=identifier)),
        (BACKUPS, catalog_pb.ListBackupsRequest(project_id=identifier)),
        (LIST, pb.ListSharingsRequest(project_id=GIVER, **which, **part)),  # type: ignore[arg-type]  # keyword members
        (COUNT, pb.CountSharingsRequest(project_id=GIVER, **which)),  # type: ignore[arg-type]  # keyword members
        (GET, pb.GetSharingRequest(project_id=GIVER, id=identifier)),
        (CANCEL, pb.CancelSharingRequest(project_id=GIVER, id=identifier, idempotency_key=key)),
        (SHARE, _share(identifier, recipients, key)),
    ]
    for store in both.stores:
        pipeline = pipeline_on(store)
        for method, request in requests:
            code, _ = both.runner.run(outcome(pipeline, method, request))
            assert code in OURS, (method, request)


def _share(backup_id: str, recipients: list[str], key: str) -> pb.ShareBackupRequest:
    shared = pb.BackupRecipients(backup_id=backup_id, to_project_ids=recipients)
    return pb.ShareBackupRequest(project_id=GIVER, shared=shared, idempotency_key=key)
