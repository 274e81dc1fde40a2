"""TLS on both ports and between gateway and server, client certificates, and an authenticating proxy, all combined."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import Programs, environment
from tests.support.system import DOCUMENTED_GIVER, Project, write_tokens

pytestmark = pytest.mark.resilience

GIVER = Project(DOCUMENTED_GIVER)
PROXY = "front:proxy-secret"
NAMED = {"X-Project-Id": GIVER.id, "X-Roles": "member", "X-User-Id": "ursula"}
PROOF = {"Proxy-Authorization": f"Basic {base64.b64encode(PROXY.encode()).decode()}"}


class Fort:
    """Server with every identity provider, TLS everywhere, and a gateway that is a trusted peer."""

    def __init__(self, programs: Programs, folder: Path, *gateway_arguments: str) -> None:
        self.folder = folder
        self.certificates = Certificates(folder)
        self.server_files = self.certificates.issue("server", "127.0.0.1", "localhost")
        self.gateway_files = self.certificates.issue("gateway", "gateway.internal")
        self.front_files = self.certificates.issue("front", "127.0.0.1")
        self.service_files = self.certificates.issue("service", "backup.internal")
        write_tokens(folder, [GIVER])
        proxy = folder / "proxy"
        proxy.write_text(f"{PROXY}\n")
        self.grpc_address, self.address = free_address(), free_address()
        self.server = programs.server(
            self.grpc_address,
            folder,
            *("--tls-certificate", str(self.server_files[0]), "--tls-key", str(self.server_files[1])),
            *("--client-ca", str(self.certificates.ca), "--gateway-peer", "gateway.internal"),
            *("--client", "backup.internal=service", "--client", f"gateway.internal=member@{GIVER.id}"),
            *("--proxy-credentials", str(proxy)),
        )
        self.gateway = programs.gateway(
            self.address,
            self.grpc_address,
            *("--tls-certificate", str(self.front_files[0]), "--tls-key", str(self.front_files[1])),
            *("--upstream-ca", str(self.certificates.ca)),
            *("--upstream-certificate", str(self.gateway_files[0]), "--upstream-key", str(self.gateway_files[1])),
            *gateway_arguments,
        )

    def channel(self, files: tuple[Path, Path] | None) -> grpc.aio.Channel:
        certificate, key = (None, None) if files is None else (path.read_bytes() for path in files)
        credentials = grpc.ssl_channel_credentials(self.certificates.ca.read_bytes(), key, certificate)
        return grpc.aio.secure_channel(self.grpc_address, credentials)

    async def count(self, files: tuple[Path, Path] | None, *metadata: tuple[str, str]) -> grpc.StatusCode:
        async with self.channel(files) as channel:
            request = pb.CountSharingsRequest(project_id=GIVER.id)
            try:
                await BackupSharingServiceStub(channel).CountSharings(request, metadata=metadata)  # type: ignore[misc]
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    async def get(self, **headers: str) -> aiohttp.ClientResponse:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"https://{self.address}{GIVER.path}/count"
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url, headers=named) as response:
            await response.read()
            return response


@pytest.fixture(scope="module", params=["--multiplex", "--no-multiplex"])
def fort(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fort]:
    """Shared fort; tests must not change it."""
    with Programs() as programs:
        yield Fort(programs, tmp_path_factory.mktemp("fort"), request.param, "--proxy-identity")


@pytest.fixture(scope="module")
def bare_fort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fort]:
    """Shared fort whose gateway ignores identities from proxies; tests must not change it."""
    with Programs() as programs:
        yield Fort(programs, tmp_path_factory.mktemp("fort"))


async def test_with_every_provider_each_caller_is_known_by_its_proof(fort: Fort) -> None:
    for _ in range(3):  # the first round runs before the stream is open
        without = await fort.get()
        assert without.status == 401
        assert without.headers["WWW-Authenticate"] == 'Token realm="backup-sharing"'
        assert (await fort.get(X_Auth_Token=GIVER.token)).status == 200
        assert (await fort.get(**NAMED, **PROOF)).status == 200
        made_up = await fort.get(**NAMED)
        assert made_up.status == 407
        assert made_up.headers["Proxy-Authenticate"] == 'Basic realm="backup-sharing"'
        assert (await fort.get(**NAMED, Proxy_Authorization="Basic Zm9vOmJhcg==")).status == 407
    unauthenticated, ok = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK
    assert await fort.count(fort.gateway_files) is unauthenticated
    assert await fort.count(fort.gateway_files, ("x-auth-token", GIVER.token)) is ok
    assert await fort.count(fort.service_files, ("x-auth-token", GIVER.token)) is ok
    assert await fort.count(fort.service_files, ("x-auth-token", "revoked")) is unauthenticated
    assert await fort.count(fort.service_files) is grpc.StatusCode.PERMISSION_DENIED
    proxied = [(name.lower(), value) for name, value in (*NAMED.items(), *PROOF.items())]
    assert await fort.count(fort.service_files, *proxied) is unauthenticated


async def test_a_service_with_its_certificate_keeps_the_catalogue(fort: Fort) -> None:
    async with fort.channel(fort.service_files) as channel:
        await BackupCatalogServiceStub(channel).ListBackups(catalog_pb.ListBackupsRequest())  # type: ignore[misc]


async def test_a_missing_or_foreign_certificate_does_not_get_through(fort: Fort, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other").issue("service", "backup.internal")
    for files in (None, stranger):
        assert await fort.count(files, ("x-auth-token", GIVER.token)) is grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.insecure_channel(fort.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await BackupSharingServiceStub(channel).CountSharings(  # type: ignore[misc]
                pb.CountSharingsRequest(project_id=GIVER.id), metadata=[("x-auth-token", GIVER.token)]
            )
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_proxy_identity_the_gateway_strips_forged_names(bare_fort: Fort) -> None:
    assert (await bare_fort.get(**NAMED, **PROOF)).status == 401
    assert (await bare_fort.get(**NAMED, X_Auth_Token=GIVER.token)).status == 200


@pytest.mark.resilience
async def test_certificates_are_read_again_when_they_change(programs: Programs, tmp_path: Path) -> None:
    fort = Fort(programs, tmp_path)
    before = await asyncio.to_thread(shown_at, fort.address)
    fort.certificates.issue("server", "127.0.0.1", "localhost")
    fort.certificates.issue("gateway", "gateway.internal")
    fort.certificates.issue("front", "127.0.0.1")
    await asyncio.to_thread(fort.gateway.wait_for, "front.pem")
    await asyncio.to_thread(fort.gateway.wait_for, "gateway.pem")
    assert await asyncio.to_thread(shown_at, fort.address) != before
    assert (await fort.get(X_Auth_Token=GIVER.token)).status == 200
    assert await fort.count(fort.service_files, ("x-auth-token", GIVER.token)) is grpc.StatusCode.OK
    assert '"certificate":' in fort.server.printed


@pytest.mark.resilience
async def test_half_a_certificate_changes_nothing(programs: Programs, tmp_path: Path) -> None:
    fort = Fort(programs, tmp_path)
    fort.server_files[0].write_text("half")
    assert await fort.count(fort.service_files, ("x-auth-token", GIVER.token)) is grpc.StatusCode.OK
    assert "cannot be used" in fort.server.wait_for("cannot be used")


def shown_at(address: str) -> str:
    """Return the certificate that the server at an address presents."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ca", "ca.pem", "--certificate", "service.pem", "--key", "service.key"), "1 imported, 0 failed"),
        (("--ca", "ca.pem", "--certificate", "gateway.pem", "--key", "gateway.key"), "carries no token"),
        (("--ca", "ca.pem", "--token", "service"), "closed the connection"),
        (("--ca", "ca.pem", "--certificate", "service.pem"), "--certificate and --key belong together"),
        (("--certificate", "service.pem", "--key", "service.key"), "--ca is missing"),
        (("--ca", "no.pem", "--token", "service"), "no.pem: cannot be read"),
        ((), "--token (BACKUP_SHARING_TOKEN) is missing"),
    ],
)
async def test_backups_are_imported_over_tls(bare_fort: Fort, arguments: tuple[str, ...], said: str) -> None:
    line = f'{{"id": "066b1e37-9305-4057-97e5-2e99b21fc71d", "project_id": "{GIVER.id}", "status": "available"}}\n'
    (bare_fort.folder / "backups.jsonl").write_text(line)
    command = (
        sys.executable,
        "-m",
        "backup_sharing.admin.cli",
        "import",
        "backups.jsonl",
        "--server",
        bare_fort.grpc_address,
        *arguments,
    )
    process = await asyncio.create_subprocess_exec(
        *command, cwd=bare_fort.folder, env=environment(), stderr=asyncio.subprocess.PIPE
    )
    _, printed = await process.communicate()
    assert said in printed.decode()
    assert (process.returncode == 0) == ("imported" in said)
    assert "Traceback" not in printed.decode()


@pytest.mark.parametrize("multiplex", ["--multiplex", "--no-multiplex"])
@pytest.mark.resilience
async def test_no_credential_is_in_what_the_programs_print(programs: Programs, tmp_path: Path, multiplex: str) -> None:
    fort = Fort(programs, tmp_path, multiplex, "--proxy-identity")
    for headers in ({}, {"X-Auth-Token": GIVER.token}, {"X-Auth-Token": "guessed-token"}, {**NAMED, **PROOF}, NAMED):
        await fort.get(**headers)
        await fort.count(fort.service_files, *((name.lower(), value) for name, value in headers.items()))
    fort.gateway.end()
    fort.server.end()
    printed = fort.server.printed + fort.gateway.printed
    assert '"audit":"refused"' in printed
    for secret in (GIVER.token, "guessed-token", PROXY, PROOF["Proxy-Authorization"].split()[1]):
        assert secret not in printed
