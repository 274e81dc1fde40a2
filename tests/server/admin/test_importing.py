"""``backup-sharing import`` reports bad lines by number, and imports the good ones."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from backup_sharing.admin.backup_line import LONGEST_LINE, parse_line
from backup_sharing.model import Backup
from backup_sharing.rpc import unary
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.store.interface import Store
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import serving
from tests.server.identities import GIVER, OUTSIDER

FIRST = "10000000-0000-4000-8000-000000000001"
SECOND = "10000000-0000-4000-8000-000000000002"
GOOD = {"id": FIRST, "project_id": GIVER, "status": "available"}

SERVICES_TOKEN = "service-token"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    exit_code: int
    said: str


def line(**members: object) -> bytes:
    return json.dumps(GOOD | members).encode() + b"\n"


async def imported(
    server: str,
    *lines: bytes,
    token: str = SERVICES_TOKEN,
    file: str = "-",
) -> Ended:
    """Run the command; if ``file`` is ``-``, pass the lines on standard input."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKUP_SHARING_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backup_sharing.admin.cli", "import", file, "--server", server),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment | {"BACKUP_SHARING_TOKEN": token},
        cwd=Path(__file__).parents[3],
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(b"".join(lines)), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert b"Traceback" not in said, said.decode()
    return Ended(process.returncode, said.decode())


@pytest_asyncio.fixture
async def server(pipeline: Pipeline, methods: Sequence[ServedMethod]) -> AsyncIterator[str]:
    handlers = tuple(unary.handlers(pipeline, methods, Traffic()))
    async with serving(lambda server: server.add_generic_rpc_handlers(handlers)) as address:
        yield address


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{", "not JSON: column 2"),
        (b"not json", "not JSON: column 1"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"name": "a", "name": "b"}', "a key is given twice"),
        (b'{"name": "a", "name": null}', "a key is given twice"),
        (b'{"colour": "red"}', '"colour"'),
        (b'{"name": 5}', "name"),
        (b'{"name": NaN}', "NaN is no number"),
        (b'{"name": {}}', "name"),
        (b'{"size": "ten"}', "size"),
        (b'{"size": 1.5}', "size"),
        (b'{"size": 1e400}', "size"),
        (b'{"size": true}', "size"),
        (b'{"size": 2147483648}', "size"),
        (b'{"is_incremental": 1}', "is_incremental"),
        (b'{"created_at": 5}', "created_at"),
        (b'{"created_at": "yesterday"}', "created_at"),
        (b'{"created_at": "2017-02-30T00:00:00"}', "created_at"),
        (b'{"name": "\\ud800"}', "name"),
        (b'{"name": "\xff"}', "not UTF-8: byte 11 is 0xff"),
        (b"\xef\xbb\xbf{}", "not JSON: column 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"size": ' + b"1" * 5000 + b"}", "5000 digits"),
        (b'"' + b"a" * LONGEST_LINE, f"longer than {LONGEST_LINE} bytes"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:20]),
)
def test_a_bad_line_says_what_is_wrong(bad: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_line(bad)


@pytest.mark.parametrize("time", ["2017-08-08T04:03:27.000001", "2017-08-08T04:03:27.000001Z"])
def test_a_time_without_an_offset_is_utc(time: str) -> None:
    parsed = parse_line(line(created_at=time))
    assert parsed.created_at.ToJsonString() == "2017-08-08T04:03:27.000001Z"


def test_what_is_null_is_not_said() -> None:
    assert not parse_line(line(name=None, created_at=None, size=None)).HasField("name")


async def test_bad_lines_are_reported_by_number_others_are_imported(server: str, store: Store) -> None:
    lines = [
        b"not json\n",
        line(),
        b"\n",
        b'{"id": "x", "id": "y"}\n',
        line(colour="red"),
        line(name=5),
        b'{"name": "\xff"}\n',
        json.dumps({"id": SECOND, "status": "available"}).encode() + b"\n",
        line(id="abc"),
        line(id=SECOND, size=-1),
        line(id=SECOND),
    ]
    ended = await imported(server, *lines)
    numbers = [text.split(":")[0] for text in ended.said.splitlines() if text.startswith("line ")]
    assert numbers == [f"line {number}" for number in (1, 4, 5, 6, 7, 8, 9, 10)]
    assert "line 8: The value of backup.project_id is incorrect" in ended.said
    assert "2 imported, 8 failed" in ended.said
    assert ended.exit_code == 1
    assert {(await store.get_backup(known)).project_id for known in (FIRST, SECOND)} == {GIVER}


async def test_a_backup_of_another_owner_is_a_bad_line(server: str, store: Store) -> None:
    ended = await imported(server, line(), line(project_id=OUTSIDER))
    assert "line 2: " in ended.said
    assert "the owner of a backup cannot be changed" in ended.said
    assert ended.exit_code == 1


async def test_of_lines_about_one_backup_the_last_stands(server: str, store: Store) -> None:
    for turn in range(5):
        ended = await imported(server, *(line(name=f"{turn}-{number}") for number in range(20)))
        assert (ended.exit_code, "20 imported, 0 failed" in ended.said) == (0, True)
        assert (await store.get_backup(FIRST)).name == f"{turn}-19"


async def test_running_again_is_fine_and_takes_what_is_new(server: str, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "backups.jsonl"
    file.write_bytes(line(name="before", size=3))
    assert (await imported(server, file=str(file))).exit_code == 0
    file.write_bytes(line(name="after") + line(id=SECOND))
    ended = await imported(server, file=str(file))
    assert (ended.exit_code, "2 imported, 0 failed" in ended.said) == (0, True)
    assert await store.get_backup(FIRST) == Backup(FIRST, GIVER, "available", name="after")


async def test_a_file_of_nothing_is_imported(server: str) -> None:
    ended = await imported(server, b"\n\n")
    assert (ended.exit_code, "0 imported, 0 failed" in ended.said) == (0, True)


async def test_more_lines_than_a_batch_are_imported_bad_ones_reported(server: str, store: Store) -> None:
    lines = [line(id=f"20000000-0000-4000-8000-{number:012}") for number in range(100)]
    ended = await imported(server, *lines, b"bad")
    assert "line 101: " in ended.said
    assert "100 imported, 1 failed" in ended.said
    assert len((await store.list_backups(GIVER, 1000, None)).items) == 102


async def test_a_server_that_is_not_there_is_one_clear_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so every connection is refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await imported(address, line())
    assert ended.exit_code == 1
    assert ended.said.startswith(f"Error: {address}: ")
    assert len(ended.said.splitlines()) == 1


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("unknown", "The token is unknown or has expired."),
        ("giver-token", "The call needs the role 'service'."),
        ("service-token\n", "the token has invalid characters"),
        ("schlüssel", "the token has invalid characters"),
    ],
)
async def test_a_token_that_does_not_do_is_one_clear_message(server: str, token: str, why: str) -> None:
    ended = await imported(server, line(), token=token)
    assert ended.exit_code == 1
    assert why in ended.said
    assert len(ended.said.splitlines()) == 1
