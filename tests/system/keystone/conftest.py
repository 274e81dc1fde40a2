"""Real Keystone with projects and users, and our two programs."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from tests.support.ports import free_address
from tests.support.programs import Program, Programs
from tests.support.rest import Rest
from tests.system.keystone.apache import ELSEWHERE, Apache
from tests.system.keystone.apache import program as apache_program
from tests.system.keystone.real import RealKeystone

PYTHON = os.environ.get("BACKUP_SHARING_TEST_KEYSTONE", "")

CACHE_SECONDS = 1.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PYTHON:
        return
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(pytest.mark.skip(reason="needs Keystone: make test-keystone"))


class Cloud:
    """Keystone with two projects, their users, and a service user."""

    def __init__(self, keystone: RealKeystone, rest_address: str) -> None:
        self.keystone = keystone
        self.giver = keystone.create("project", name="giver", domain_id="default")
        self.recipient = keystone.create("project", name="recipient", domain_id="default")
        service = self.services = keystone.create("project", name="services", domain_id="default")
        for name, role, project_id in (
            ("gina", "member", self.giver),
            ("rita", "reader", self.giver),
            ("rob", "member", self.recipient),
            ("steve", "service", self.recipient),
            ("sam", "service", service),
            ("backup-sharing", "admin", service),
        ):
            user = keystone.create("user", name=name, password=name, domain_id="default")
            keystone.grant(role, user, project_id)
            if name == "gina":
                keystone.grant("member", user)
        for kind in ("vbs", "vbsv2", "volumev2"):
            service_id = keystone.create("service", name=kind, type=kind)
            url = f"http://{rest_address}/v2/$(project_id)s"
            keystone.create("endpoint", service_id=service_id, interface="public", region_id="RegionOne", url=url)

    def token(self, user: str, project: str) -> str:
        return self.keystone.token(user, user, self.keystone.of_project(project))


class Pair:
    """Server and gateway that authenticate through Keystone only."""

    def __init__(
        self,
        programs: Programs,
        folder: Path,
        cloud: Cloud,
        rest_address: str,
        *arguments: str,
        through: str = "",
        grpc_address: str = "",
    ) -> None:
        """Start both; ``through`` is the URL of a proxy in front of Keystone."""
        self.cloud = cloud
        self.grpc_address = grpc_address or free_address()
        self.server: Program = programs.start(
            "server",
            *("--grpc-listen", self.grpc_address, "--database", str(folder / "sharings.db"), "--stop-on-stdin-close"),
            *("--keystone-url", through or cloud.keystone.url, "--token-cache-seconds", str(CACHE_SECONDS)),
            *("--keystone-timeout", "30"),  # this Keystone may share its machine with other tests
            *("--keystone-service-project", cloud.services, *arguments),
        )
        self.server.wait_for('"event":"serving"')
        self.rest = Rest(rest_address)
        self.gateway = programs.gateway(rest_address, self.grpc_address)

    def put_backup(self, user: str = "sam", project: str = "services") -> str:
        backup = Backup(id=str(uuid.uuid4()), project_id=self.cloud.giver, status="available")
        with grpc.insecure_channel(self.grpc_address) as channel:
            metadata = [("x-auth-token", self.cloud.token(user, project))]
            BackupCatalogServiceStub(channel).PutBackup(PutBackupRequest(backup=backup), metadata=metadata)
        return backup.id

    @property
    def path(self) -> str:
        return f"/v2/{self.cloud.giver}/os-vendor-backup-sharing"


@pytest.fixture(scope="session")
def rest_address() -> str:
    return free_address()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, rest_address: str) -> Iterator[Cloud]:
    keystone = RealKeystone(Path(PYTHON), tmp_path_factory.mktemp("keystone"))
    keystone.start()
    yield Cloud(keystone, rest_address)
    keystone.stop()


@pytest.fixture(params=["with a service user", "by the tokens themselves"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> Sequence[str]:
    """Settings of the service user, or none."""
    password = tmp_path / "password"
    password.write_text("backup-sharing")
    user = ("--keystone-user", "backup-sharing", "--keystone-project", "services")
    return (*user, "--keystone-password-file", str(password)) if request.param == "with a service user" else ()


@pytest.fixture
def pair(user: Sequence[str], programs: Programs, tmp_path: Path, cloud: Cloud, rest_address: str) -> Pair:
    return Pair(programs, tmp_path, cloud, rest_address, *user)


@pytest.fixture
def pair_on_socket(
    user: Sequence[str], programs: Programs, tmp_path: Path, cloud: Cloud, rest_address: str
) -> Iterator[Pair]:
    """Server and gateway that are connected by a Unix socket, so that the server trusts the gateway."""
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket has at most 107 bytes
        yield Pair(programs, tmp_path, cloud, rest_address, *user, grpc_address=f"unix:{folder}/grpc")


@pytest.fixture
def apache(tmp_path: Path, cloud: Cloud) -> Iterator[Apache]:
    """Real Apache in front of Keystone."""
    binary = apache_program()
    if binary is None:
        pytest.skip(f"needs Apache: the package apache2-bin of Debian, or {ELSEWHERE}=…/sbin/apache2")
    apache = Apache(binary, tmp_path, cloud.keystone.url)
    try:
        apache.wait()
        yield apache
    finally:
        apache.stop()


@pytest.fixture
def pair_behind_apache(
    apache: Apache, user: Sequence[str], programs: Programs, tmp_path: Path, cloud: Cloud, rest_address: str
) -> Pair:
    return Pair(programs, tmp_path, cloud, rest_address, *user, through=apache.url)
