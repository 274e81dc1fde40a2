"""The commands check, history and watch, and the options of share and cancel, against a stub server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo

from backupsharing.commands import events
from backupsharing.commands.program import main
from backupsharing.commands.text import flowed
from backupsharing.commands.times import Span
from backupsharing.v2.backup_access_pb2 import (
    ACCESS_BASIS_SHARING,
    CheckAccessResponse,
    ListSharingEventsRequest,
    ListSharingEventsResponse,
    SharingEvent,
    WatchSharingsRequest,
)
from backupsharing.v2.backup_pb2 import Backup
from backupsharing.v2.backup_sharing_pb2 import (
    CancelSharingRequest,
    CancelSharingResponse,
    GetSharingResponse,
    ListSharingsResponse,
    ShareBackupRequest,
    ShareBackupResponse,
)
from backupsharing.v2.sharing_pb2 import Sharing, SharingDetail
from tests.client.streams import Streams, event, fails
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, ROOT, environment, obeying_ctrl_c
from tests.support.stub_server import StubServer

BACKUP, GIVER, RECIPIENT = "066b1e37-9305-4057-97e5-2e99b21fc71d", "c" * 32, "7" * 32
SHARING = "019c3f1c-6a38-7d6e-9c39-0a7f6c1f9b10"
AT = Timestamp(seconds=int(datetime(2026, 11, 30, 19, 7, 46, tzinfo=UTC).timestamp()))
CALLER = ("--project", GIVER, "--token", "t")
MEMBERS: dict[str, Any] = {
    "time": AT,
    "backup_id": BACKUP,
    "from_project_id": GIVER,
    "to_project_id": RECIPIENT,
    "by_project_id": GIVER,
    "by_user_id": "anna",
    "sharing_id": SHARING,
    "request_id": "req-1",
}
SHARED = SharingEvent(cursor="s:1", kind="shared", **MEMBERS)
LINE = f"2026-11-30 19:07:46  shared          {BACKUP}  from {GIVER}  to {RECIPIENT}  by anna  sharing {SHARING}"


def run(stub: StubServer | str, *arguments: str, **variables: str) -> Result:
    unset = dict.fromkeys(name for name in os.environ if name.startswith(("OS_", "BACKUP_SHARING_")))
    server = stub if isinstance(stub, str) else stub.address
    return CliRunner().invoke(main, [*arguments, "--server", server, "--timeout", "10"], env={**unset, **variables})


def page(stub: StubServer, *found: SharingEvent, more: str = "") -> None:
    stub.answers(ListSharingEventsResponse(events=found, next_page_token=more).SerializeToString())


@pytest.mark.parametrize("arguments", [(BACKUP,), (BACKUP, "p", "q"), (BACKUP, "p", "--format", "id")])
def test_a_check_that_is_mistyped_exits_with_2(stub: StubServer, arguments: tuple[str, ...]) -> None:
    assert run(stub, "check", *arguments, *CALLER).exit_code == 2
    assert stub.seen == []


def test_a_check_without_an_answer_exits_with_2(stub: StubServer) -> None:
    stub.fails(grpc.StatusCode.UNAUTHENTICATED, "unknown token")
    refused = run(stub, "check", BACKUP, RECIPIENT, *CALLER)
    absent = run(free_address(), "check", BACKUP, RECIPIENT, *CALLER)
    assert (refused.exit_code, absent.exit_code) == (2, 2)
    assert "unknown token" in refused.stderr
    assert "Nothing listens" in absent.stderr
    assert refused.stdout == absent.stdout == ""


def test_a_check_answered_with_no_exits_with_1(stub: StubServer) -> None:
    stub.answers(CheckAccessResponse(cursor="s:1").SerializeToString())
    result = run(stub, "check", BACKUP, RECIPIENT, *CALLER)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "ALLOWED  no\n", "")
    result = run(stub, "check", BACKUP, RECIPIENT, *CALLER, "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"allowed": False, "cursor": "s:1"})


def test_a_check_answered_with_yes_exits_with_0(stub: StubServer) -> None:
    answer = CheckAccessResponse(
        allowed=True,
        basis=ACCESS_BASIS_SHARING,
        sharing_id=SHARING,
        owner_project_id=GIVER,
        expire_time=AT,
        cursor="s:1",
    )
    stub.answers(answer.SerializeToString())
    result = run(stub, "check", BACKUP, RECIPIENT, "--token", "t")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        *("ALLOWED     yes", "BASIS       sharing", f"SHARING     {SHARING}", f"OWNER       {GIVER}"),
        "ENDS (UTC)  2026-11-30 19:07:46",
    ]
    reported = json.loads(run(stub, "check", BACKUP, RECIPIENT, "--token", "t", "--format", "json").stdout)
    assert reported["expire_time"] == "2026-11-30T19:07:46Z"


@pytest.mark.parametrize("command", ["history", "watch"])
def test_events_of_no_project_have_to_be_wanted(stub: StubServer, command: str) -> None:
    result = run(stub, command, "--token", "t")
    assert (result.exit_code, stub.seen) == (2, [])
    assert "--project (OS_PROJECT_ID) is missing" in result.output


def test_a_history_of_all_projects_names_none(stub: StubServer) -> None:
    result = run(stub, "history", *CALLER, "--all-projects")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No events.\n")
    assert ListSharingEventsRequest.FromString(stub.seen[0].request).project_id == ""
    assert run(stub, "history", "--token", "t", "--all-projects").exit_code == 0


def test_a_history_is_a_table_of_what_is_known(stub: StubServer) -> None:
    put = SharingEvent(cursor="s:0", kind="backup_put", time=AT, backup_id=BACKUP, from_project_id=GIVER)
    page(stub, SHARED, put)
    head, first, second = run(stub, "history", *CALLER).stdout.splitlines()
    assert head.split() == ["TIME", "(UTC)", "KIND", "BACKUP", "FROM", "TO", "BY", "SHARING"]
    assert first.split() == ["2026-11-30", "19:07:46", "shared", BACKUP, GIVER, RECIPIENT, "anna", SHARING]
    assert second.split() == ["2026-11-30", "19:07:46", "backup_put", BACKUP, GIVER]
    page(stub, put)
    head, _ = run(stub, "history", *CALLER).stdout.splitlines()
    assert head.split() == ["TIME", "(UTC)", "KIND", "BACKUP", "FROM"]


def test_a_history_in_json_leaves_out_what_is_unset(stub: StubServer) -> None:
    page(stub, SharingEvent(cursor="s:0", kind="expired", time=AT, backup_id=BACKUP, from_project_id=GIVER))
    expected = {"cursor": "s:0", "kind": "expired", "time": "2026-11-30T19:07:46Z"}
    result = run(stub, "history", *CALLER, "--format", "json")
    assert json.loads(result.stdout) == {"events": [{**expected, "backup_id": BACKUP, "from_project_id": GIVER}]}


def test_a_history_that_is_longer_says_so(stub: StubServer) -> None:
    page(stub, SHARED, SHARED, SHARED, more="x")
    result = run(stub, "history", *CALLER, "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "There are more than 2 events; --limit shows more.\n"
    assert len(stub.seen) == 1
    page(stub, SHARED, SHARED)
    assert run(stub, "history", *CALLER, "--limit", "2").stderr == ""


def test_filters_of_a_history_are_sent(stub: StubServer) -> None:
    filters = {"--backup-id": BACKUP, "--sharing-id": SHARING, "--other-project-id": RECIPIENT, "--kind": "expired"}
    times = ("--since", "2026-11-01T00:00Z", "--until", "2026-12-01T00:00+01:00", "--sort-dir", "asc")
    assert run(stub, "history", *CALLER, *(word for pair in filters.items() for word in pair), *times).exit_code == 0
    sent = ListSharingEventsRequest.FromString(stub.seen[0].request)
    assert [sent.backup_id, sent.sharing_id, sent.other_project_id, sent.kind] == list(filters.values())
    assert sent.start_time.ToDatetime(UTC) == datetime(2026, 11, 1, tzinfo=UTC)
    assert sent.end_time.ToDatetime(UTC) == datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert (sent.sort_dir, sent.project_id) == ("asc", GIVER)


def test_a_narrow_terminal_gets_whole_ids_in_few_lines(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "terminal_columns", lambda: 80)
    page(stub, SHARED)
    assert click.unstyle(run(stub, "history", *CALLER).stdout).splitlines() == [
        f"2026-11-30 19:07:46  shared          {BACKUP}",
        f"    from {GIVER}  to {RECIPIENT}",
        f"    by anna  sharing {SHARING}",
    ]


def test_parts_that_do_not_fit_begin_a_line() -> None:
    assert flowed(["aaaa", "bb", "cc"], 8) == "aaaa  bb\n    cc"
    assert flowed(["aaaaaaaaaa", "b"], 3) == "aaaaaaaaaa\n    b"
    assert flowed(["a", "b" * 99], None) == f"a  {'b' * 99}"


def test_nothing_in_an_event_is_obeyed_by_a_terminal(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    page(stub, SharingEvent(cursor="c", kind="\x1b[2J", time=AT, backup_id="\x1b]0;", by_user_id="a\nb"))
    monkeypatch.setattr(events, "terminal_columns", lambda: 1000)
    outputs = [run(stub, "history", *CALLER).stdout]
    monkeypatch.undo()
    outputs += [run(stub, "history", *CALLER, "--format", shape).stdout for shape in ("table", "json")]
    for text in outputs:
        assert "\x1b" not in click.unstyle(text)
        assert "a\nb" not in text


@contextmanager
def watching(stub: StubServer, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; kill it at the end of the context if it still runs."""
    command = [sys.executable, "-m", "backupsharing.commands.program", "watch", *arguments, "--server", stub.address]
    unset = {name: value for name, value in environment().items() if not name.startswith("OS_")}
    with obeying_ctrl_c():
        process = subprocess.Popen(
            command, cwd=ROOT, env=unset, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """End the command as Ctrl-C does; return its exit code, the rest of its output, and its notes."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err.splitlines()


def test_a_watch_prints_resumes_and_ends_by_ctrl_c(stub: StubServer) -> None:
    streams = Streams(stub).then(event(1, **MEMBERS), end=fails(grpc.StatusCode.UNAVAILABLE))
    streams.then(event(2, **MEMBERS))
    with watching(stub, *CALLER) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [f"{LINE}\n"] * 2
        assert streams.held.wait(PATIENCE)
        code, rest, notes = interrupted(process)
    assert (code, rest) == (130, "")
    assert notes == ["Reconnecting: broken", "Connected again.", "To continue here: --cursor s:2"]
    assert streams.asked == ["newest1", "s:0", "s:1"]


def test_a_watch_in_json_is_an_object_in_each_line(stub: StubServer) -> None:
    Streams(stub).then(event(1, **MEMBERS))
    with watching(stub, *CALLER, "--format", "json", "--from-beginning", "--kind", "shared") as process:
        assert process.stdout is not None
        reported = json.loads(process.stdout.readline())
    assert reported == {
        **{name: value for name, value in MEMBERS.items() if name != "time"},
        "cursor": "s:1",
        "kind": "shared",
        "time": "2026-11-30T19:07:46Z",
    }
    assert WatchSharingsRequest.FromString(stub.seen[0].request) == WatchSharingsRequest(
        project_id=GIVER, from_beginning=True, kind="shared"
    )


def test_an_expired_cursor_of_a_watch_names_the_oldest_one(stub: StubServer) -> None:
    metadata = {"oldest_cursor": "s:9", "code": "BackupSharing.0006"}
    info = ErrorInfo(reason="CURSOR_EXPIRED", domain="backupsharing", metadata=metadata)
    Streams(stub).then(end=fails(grpc.StatusCode.OUT_OF_RANGE, info))
    result = run(stub, "watch", *CALLER, "--cursor", "s:1")
    assert result.exit_code == 1
    assert "The oldest cursor that works: --cursor s:9" in result.stderr
    assert "CURSOR_EXPIRED BackupSharing.0006" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("watch", "--cursor", "s:1", "--from-beginning"), "either --cursor or --from-beginning"),
        (("watch", "--cursor", ""), "it is empty"),
        (("share", "b", "p", "--expires", "7"), "neither a span such as 7d"),
        (("share", "b", "p", "--expires", "0d"), "the span 0d is empty"),
        (("share", "b", "p", "--expires", "9" * 5000 + "d"), "is too long"),
        (("share", "b", "p", "--expires", "9999999d"), "leads out of the years"),
        (("share", "b", "p", "--expires", "2026-12-31T00:00"), "has no time zone"),
        (("history", "--since", "2026-12-31"), "has no time zone"),
        (("share", "b", "p", "--expires", "7d", "--idempotency-key", "k"), "another time in each command"),
        (("share", "b", "p", "--dry-run", "--format", "id"), "--dry-run creates no ids"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(stub: StubServer, arguments: tuple[str, ...], said: str) -> None:
    result = run(stub, *arguments, *CALLER)
    assert (result.exit_code, stub.seen) == (2, [])
    assert said in " ".join(result.output.split())


def test_spans_count_forwards_and_back() -> None:
    now = datetime(2026, 11, 30, 12, 0, 0, 500, tzinfo=UTC)
    span = Span("1d12h", timedelta(days=1, hours=12))
    assert span.from_now(lambda: now) == datetime(2026, 12, 2, tzinfo=UTC)
    assert span.ago(lambda: now) == datetime(2026, 11, 29, 0, 0, 0, 500, tzinfo=UTC)


def test_a_share_that_ends_shows_when(stub: StubServer) -> None:
    stub.answers(ShareBackupResponse(shared=[Sharing(id=SHARING, expire_time=AT)]).SerializeToString())
    result = run(stub, "share", BACKUP, RECIPIENT, *CALLER, "--expires", "2026-11-30T20:07:46+01:00")
    assert "ENDS (UTC)" in result.stdout
    assert "2026-11-30 19:07:46" in result.stdout
    assert ShareBackupRequest.FromString(stub.seen[0].request).expire_time == AT


def test_a_share_for_a_span_that_may_be_stored_names_its_end(stub: StubServer) -> None:
    stub.fails(grpc.StatusCode.INTERNAL, "lost")
    result = run(stub, "share", BACKUP, RECIPIENT, *CALLER, "--expires", "1d12h")
    sent = ShareBackupRequest.FromString(stub.seen[0].request)
    end = sent.expire_time.ToDatetime(UTC).isoformat().replace("+00:00", "Z")
    assert f"--expires {end}" in result.stderr
    assert f"--idempotency-key {sent.idempotency_key}" in result.stderr
    stub.answers(b"")
    again = ("--expires", end, "--idempotency-key", sent.idempotency_key)
    run(stub, "share", BACKUP, RECIPIENT, *CALLER, *again)
    assert ShareBackupRequest.FromString(stub.seen[-1].request) == sent


def test_a_dry_run_says_that_nothing_is_stored(stub: StubServer) -> None:
    sharing = Sharing(backup_id=BACKUP, to_project_id=RECIPIENT, created_at=AT)
    stub.answers(ShareBackupResponse(shared=[sharing]).SerializeToString())
    result = run(stub, "share", BACKUP, RECIPIENT, *CALLER, "--dry-run")
    assert result.stderr == "Dry run: nothing is stored.\n"
    assert result.stdout.split() == ["BACKUP", "TO", "SHARED", "(UTC)", BACKUP, RECIPIENT, "2026-11-30", "19:07:46"]
    stub.answers(CancelSharingResponse(shared=[sharing]).SerializeToString())
    for which in ((SHARING,), ("--backup", BACKUP)):
        assert run(stub, "cancel", *which, *CALLER, "--dry-run").stderr == "Dry run: nothing is stored.\n"
    share, *cancels = stub.seen
    assert ShareBackupRequest.FromString(share.request).validate_only
    assert all(CancelSharingRequest.FromString(seen.request).validate_only for seen in cancels)


def test_lists_show_the_end_where_there_is_one(stub: StubServer) -> None:
    ending = SharingDetail(id=SHARING, backup=Backup(id=BACKUP), expire_time=AT)
    stub.answers(ListSharingsResponse(shared=[ending]).SerializeToString())
    assert "ENDS (UTC)" in run(stub, "list", *CALLER).stdout
    stub.answers(GetSharingResponse(shared=ending).SerializeToString())
    assert "ENDS (UTC)    2026-11-30 19:07:46" in run(stub, "show", SHARING, *CALLER).stdout
    stub.answers(ListSharingsResponse(shared=[SharingDetail(id=SHARING)]).SerializeToString())
    assert "ENDS" not in run(stub, "list", *CALLER).stdout
