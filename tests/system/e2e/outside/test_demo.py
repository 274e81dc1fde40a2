"""``backup-sharing demo``, the first command for newcomers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from backup_sharing.admin.demo import MOST_RECOVERIES
from backup_sharing.exit_status import DISK_FAILED
from backupsharing.v2.backup_catalog_pb2 import ListBackupsRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from tests.store.faulty_disk import Fault, FaultyDisk, Kind, build
from tests.support.ports import free_address
from tests.support.programs import PACKAGES, PATIENCE, ROOT, Program, Programs, environment
from tests.support.rest import Rest, assert_failure, assert_success, example
from tests.support.system import DOCUMENTED_GIVER

pytestmark = pytest.mark.resilience

PATH = f"/v2/{DOCUMENTED_GIVER}/os-vendor-backup-sharing"
RECIPIENT = example("share.request")["shared"]["to_project_ids"][0]

needs_proc = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds and /proc of Linux")


@dataclass(frozen=True, slots=True)
class Demo:
    program: Program
    banner: str
    rest: Rest
    grpc_address: str
    data: Path

    def block(self, title: str) -> str:
        """Return the commands under a title of the banner."""
        (found,) = (block for block in self.banner.split("\n\n") if block.startswith(f"# {title}"))
        return found

    def paste(self, title: str) -> str:
        """Run the commands under a title in a shell, in another folder; return their output."""
        command = ["sh", "-c", self.block(title)]
        done = subprocess.run(
            command, cwd=self.data, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def start(programs: Programs, data: Path, **addresses: str) -> Program:
    listen, grpc_listen = addresses.get("listen", free_address()), addresses.get("grpc_listen", free_address())
    admin = ("--admin-listen", addresses.get("admin_listen", free_address()))
    grpc_admin = ("--grpc-admin-listen", addresses.get("grpc_admin_listen", free_address()))
    arguments = ("--listen", listen, "--grpc-listen", grpc_listen, *admin, *grpc_admin, "--data", str(data))
    return programs.start("backup_sharing.admin.cli", "demo", *arguments)


def run(programs: Programs, data: Path) -> Demo:
    """Start a demo and wait for its banner."""
    listen, grpc_listen = free_address(), free_address()
    program = start(programs, data, listen=listen, grpc_listen=grpc_listen)
    return Demo(program, program.wait_for("Ctrl-C stops it"), Rest(listen), grpc_listen, data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Programs() as programs:
        yield run(programs, tmp_path_factory.mktemp("demo") / "data")


@pytest.mark.parametrize("option", ["listen", "grpc_listen"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.com:80", "127.0.0.1"])
def test_the_demo_refuses_to_listen_beyond_loopback(
    programs: Programs, tmp_path: Path, option: str, address: str
) -> None:
    program = start(programs, tmp_path, **{option: address})
    assert program.wait() != 0
    assert address in program.printed
    assert "loopback" in program.printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["listen", "grpc_listen", "admin_listen", "grpc_admin_listen"])
def test_the_demo_names_a_port_that_is_in_use(programs: Programs, tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        program = start(programs, tmp_path, **{option: address})
        assert program.wait() != 0
    assert address in program.printed
    assert "in use" in program.printed
    assert "Traceback" not in program.printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_banner_work_when_pasted(demo: Demo) -> None:
    shared = json.loads(demo.paste("Share a backup with two projects"))["shared"]
    assert [list(entry) for entry in shared] == [list(example("share.response")["shared"][0])] * 2
    listed = json.loads(demo.paste("List what this project shares"))["shared"]
    assert {entry["id"] for entry in listed} == {entry["id"] for entry in shared}
    assert listed[0]["backup"] == example("get.response")["shared"]["backup"]
    assert f'id: "{shared[0]["id"]}"' in demo.paste("List over gRPC")
    assert demo.paste("Cancel all sharings of the backup") == ""
    assert json.loads(demo.paste("List what this project shares")) == {"shared": []}


def test_the_health_pages_of_the_banner_are_there(demo: Demo) -> None:
    pages = re.findall(r"http://\S+/readyz", demo.banner)
    assert len(pages) == 2
    for page in pages:
        with urllib.request.urlopen(page, timeout=PATIENCE) as answer:  # noqa: S310 - a program that the test started
            assert json.load(answer)["status"] == "ready"


def test_the_documented_post_of_the_banner_is_the_contracts(demo: Demo) -> None:
    body = demo.block("Share a backup with two projects").partition("-d '")[2].rstrip("'")
    assert json.loads(body) == example("share.request")
    assert f"http://{demo.rest.address}{PATH} " in demo.block("Share a backup with two projects")


def test_the_demo_has_the_documented_backup_and_nine_more(demo: Demo) -> None:
    with grpc.insecure_channel(demo.grpc_address) as channel:
        stub = BackupCatalogServiceStub(channel)
        found = stub.ListBackups(ListBackupsRequest(), metadata=[("x-auth-token", "demo-service")]).backups
    assert {backup.project_id for backup in found} == {DOCUMENTED_GIVER}
    by_id = {backup.id: backup.status for backup in found}
    more = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 10)]
    documented = example("get.response")["shared"]["backup"]["id"]
    assert by_id == {documented: "available", **dict.fromkeys(more[:8], "available"), more[8]: "creating"}
    for member in ("name", "size", "volume_id", "availability_zone"):
        assert len({getattr(backup, member) for backup in found if backup.id in more}) > 1


@pytest.mark.parametrize(
    ("token", "project", "status"),
    [
        ("demo-owner", DOCUMENTED_GIVER, 200),
        ("demo-reader", DOCUMENTED_GIVER, 200),
        ("demo-recipient", RECIPIENT, 200),
        ("demo-outsider", "0ff5e7c0ffee4dadaabe5b2d0fe84aaa", 200),
        ("demo-outsider", DOCUMENTED_GIVER, 403),
        ("demo-service", DOCUMENTED_GIVER, 403),
    ],
)
async def test_the_tokens_of_the_demo_belong_to_their_projects(
    demo: Demo, token: str, project: str, status: int
) -> None:
    answer = await demo.rest.call("GET", f"/v2/{project}/os-vendor-backup-sharing/count", token=token)
    assert answer.status == status


async def test_the_reader_of_the_demo_does_not_share(demo: Demo) -> None:
    answer = await demo.rest.call("POST", PATH, token="demo-reader", body=example("share.request"))
    assert_failure(answer, 403, "VolumeBackup.0042")


@pytest.mark.resilience
async def test_a_second_run_keeps_its_data_and_says_to_cancel_first(programs: Programs, tmp_path: Path) -> None:
    first = await asyncio.to_thread(run, programs, tmp_path / "data")
    assert "shared already" not in first.banner
    answer = await first.rest.call("POST", PATH, token="demo-owner", body=example("share.request"))
    shared = assert_success(answer)["shared"]
    first.program.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.program.wait) == 0

    second = await asyncio.to_thread(run, programs, tmp_path / "data")
    assert "shared already" in second.banner
    assert second.banner.index("# Cancel") < second.banner.index("# Share")
    listed = assert_success(await second.rest.call("GET", f"{PATH}/detail", token="demo-owner"))["shared"]
    assert {entry["id"] for entry in listed} == {entry["id"] for entry in shared}
    second.program.signal(signal.SIGINT)
    assert await asyncio.to_thread(second.program.wait) == 0


async def gone(descriptor: int) -> None:
    """Wait until the process of this descriptor has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


@pytest.mark.resilience
@needs_proc
async def test_a_killed_demo_takes_server_and_gateway_with_it(programs: Programs, tmp_path: Path) -> None:
    demo = await asyncio.to_thread(run, programs, tmp_path)
    children = demo.program.children()
    assert set(children) == {"server", "gateway"}
    descriptors = [os.pidfd_open(pid) for pid in children.values()]
    demo.program.signal(signal.SIGKILL)
    await asyncio.gather(*(gone(descriptor) for descriptor in descriptors))


@pytest.mark.resilience
@needs_proc
@pytest.mark.parametrize(("killed", "other"), [("server", "gateway"), ("gateway", "server")])
async def test_when_one_process_is_killed_the_demo_ends_the_other(
    programs: Programs, tmp_path: Path, killed: str, other: str
) -> None:
    demo = await asyncio.to_thread(run, programs, tmp_path)
    children = demo.program.children()
    descriptor = os.pidfd_open(children[other])
    os.kill(children[killed], signal.SIGKILL)
    await gone(descriptor)
    assert await asyncio.to_thread(demo.program.wait) != 0


@pytest.mark.resilience
async def test_a_server_whose_disk_failed_is_started_again_a_few_times(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path / "commands")
    body = example("share.request")
    with Programs(**disk.environment(build(tmp_path))) as programs:
        demo = await asyncio.to_thread(run, programs, tmp_path / "data")
        for time in range(1, MOST_RECOVERIES + 2):
            key = {"Idempotency-Key": f"{time}"}
            body["shared"]["to_project_ids"] = [f"{time}"]
            disk.break_(Fault(Kind.SYNC, name="backup-sharing.db-wal"))
            answer = await demo.rest.call("POST", PATH, token="demo-owner", body=body, headers=key)
            assert_failure(answer, 503, "VolumeBackup.0900", "may be stored")
            if time <= MOST_RECOVERIES:
                await asyncio.to_thread(demo.program.wait_for, f"restart {time} of {MOST_RECOVERIES}")
                while answer.status == 503:
                    await asyncio.sleep(0.05)
                    answer = await demo.rest.call("POST", PATH, token="demo-owner", body=body, headers=key)
                assert_success(answer)
        assert await asyncio.to_thread(demo.program.wait) == DISK_FAILED


def test_the_data_folder_is_readable_by_its_owner_only(demo: Demo) -> None:
    assert demo.data.stat().st_mode & 0o077 == 0


HELP = {
    "server": ("--grpc-listen", "--database", "--tokens", "BACKUP_SHARING_"),
    "gateway": ("--listen", "--upstream", "--public-url", "--trusted-proxy", "BACKUP_SHARING_"),
    "backup_sharing.admin.cli": ("demo", "token", "import"),
}


@pytest.mark.parametrize("module", HELP)
def test_help_says_what_a_program_is_for_and_names_its_settings(module: str) -> None:
    command = [sys.executable, "-m", PACKAGES.get(module, module), "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for text in HELP[module]:
        assert text in done.stdout
