"""Terraform provider of Open Telekom Cloud, run by OpenTofu or Terraform.

Not tested because of the provider's own defect: it crashes on reading a backup whose sharings were all cancelled
elsewhere, because it takes the first entry of the empty list.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from backupsharing.v2 import backup_catalog_pb2 as catalog
from backupsharing.v2 import backup_catalog_pb2_grpc as catalog_rpc
from backupsharing.v2 import backup_pb2
from backupsharing.v2 import backup_sharing_pb2 as sharing
from backupsharing.v2 import backup_sharing_pb2_grpc as sharing_rpc
from tests.system.interop.rows import BUILD, ClientFailed, Place, Row, command, needs

PROVIDER = "INTEROP_TERRAFORM_PROVIDER"
"""Environment variable with the provider's folder. ``tofu init`` or ``terraform init`` of the configuration creates the
folder below ``.terraform/providers``. The row cannot build the provider: the Go module proxy serves neither it nor its
SDK."""
OPENTOFU = "github.com/opentofu/opentofu@v1.12.6"
"""Module to build if neither ``tofu`` nor ``terraform`` is installed."""

_CONFIGURATION = Path(__file__).parents[1] / "terraform" / "main.tf"
_BUILT = BUILD / "terraform" / "tofu"
_ADDRESS = "opentelekomcloud_vbs_backup_share_v2.share"
_NAME, _SIZE = "terraform", 40


def _missing() -> str:
    if not os.environ.get(PROVIDER):
        return f"no provider: {PROVIDER} is not set"
    return "" if _installed() or _BUILT.exists() else needs("go")


def _installed() -> str | None:
    return shutil.which("tofu") or shutil.which("terraform")


def _program() -> str:
    return _installed() or str(_BUILT)


def _build() -> None:
    """Build OpenTofu in its own module; ``go install`` refuses, because its go.mod replaces a module."""
    if _installed() or _BUILT.exists():
        return
    downloaded = json.loads(command("go", "mod", "download", "-json", OPENTOFU, cwd=BUILD))
    # Version of a release, not of a development build.
    release = "-X github.com/opentofu/opentofu/version.dev=no"
    command("go", "build", "-C", downloaded["Dir"], "-p", "2", "-ldflags", release, "-o", str(_BUILT), "./cmd/tofu")


@dataclass(frozen=True, slots=True)
class _Workspace:
    """Folder with the configuration and its own state; nothing is downloaded."""

    folder: Path
    environment: Mapping[str, str]

    def apply(self, recipients: Sequence[str]) -> Mapping[str, Any]:
        """Apply the configuration for these recipients; return the outputs."""
        (self.folder / "terraform.tfvars.json").write_text(
            json.dumps({"backup_id": self.environment["BACKUP"], "to_project_ids": recipients})
        )
        self.say("apply", "-auto-approve")
        return {name: output["value"] for name, output in json.loads(self.say("output", "-json")).items()}

    def must_be_settled(self) -> None:
        """Fail if a plan contains a change."""
        self.say("plan", "-detailed-exitcode")

    def say(self, verb: str, *words: str) -> str:
        """Run a command of OpenTofu; return its output."""
        asking = () if verb == "output" else ("-input=false",)
        return command(
            _program(), verb, *asking, "-no-color", *words, cwd=self.folder, environment=self.environment, seconds=120.0
        )


def _workspace(folder: Path, place: Place, backup: str) -> _Workspace:
    folder.mkdir()
    shutil.copy(_CONFIGURATION, folder)
    overrides = f'dev_overrides {{ "opentelekomcloud/opentelekomcloud" = "{Path(os.environ[PROVIDER]).resolve()}" }}'
    (folder / "cli.tfrc").write_text(f"provider_installation {{\n{overrides}\n}}\n")
    # The provider treats empty as unset; the user's environment may contain another cloud.
    elsewhere = {name: "" for name in os.environ if name.startswith("OS_")}
    return _Workspace(
        folder,
        {
            **elsewhere,
            "TF_CLI_CONFIG_FILE": str(folder / "cli.tfrc"),
            "CHECKPOINT_DISABLE": "1",
            "OS_AUTH_URL": place.keystone,
            "OS_USERNAME": place.user,
            "OS_PASSWORD": place.password,
            "OS_PROJECT_ID": place.project,
            "OS_DOMAIN_NAME": "Default",
            # Otherwise the provider uses the project's name up to the first _ as the region.
            "OS_REGION_NAME": "RegionOne",
            "BACKUP": backup,
        },
    )


@contextmanager
def _server(place: Place) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(place.grpc) as channel:
        try:
            yield channel
        except grpc.RpcError as failure:
            raise ClientFailed(str(failure)) from None


def _put_backup(place: Place) -> str:
    backup = backup_pb2.Backup(
        id=str(uuid.uuid4()), project_id=place.project, name=_NAME, status="available", size=_SIZE
    )
    with _server(place) as channel:
        catalog_rpc.BackupCatalogServiceStub(channel).PutBackup(
            catalog.PutBackupRequest(backup=backup), metadata=(("x-auth-token", place.service_token),)
        )
    return backup.id


def _sharings(place: Place, backup: str) -> Mapping[str, str]:
    """Return sharing ids by recipient, over gRPC because the REST responses may be corrupted."""
    with _server(place) as channel:
        listed = sharing_rpc.BackupSharingServiceStub(channel).ListSharings(
            sharing.ListSharingsRequest(project_id=place.project, backup_id=backup),
            metadata=(("x-auth-token", place.token),),
        )
    return {entry.to_project_id: entry.id for entry in listed.shared}


def _count(place: Place, backup: str) -> int:
    url = f"{place.rest}/v2/{place.project}/os-vendor-backup-sharing/count?backup_id={backup}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-Auth-Token": place.token})) as answer:  # noqa: S310 -- our gateway
        return int(json.load(answer)["count"])


def _must_be(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise ClientFailed(f"{what}: {seen!r}, expected {expected!r}")


def _apply(workspace: _Workspace, place: Place, recipients: Sequence[str]) -> Mapping[str, str]:
    """Share with these recipients; check that provider and service agree, and return sharing ids by recipient."""
    outputs = workspace.apply(recipients)
    shared = _sharings(place, workspace.environment["BACKUP"])
    _must_be("recipients after apply", sorted(shared), sorted(recipients))
    _must_be("share_ids", sorted(outputs["share_ids"]), sorted(shared.values()))
    _must_be("backup", (outputs["backup_name"], outputs["size"]), (_NAME, _SIZE))
    workspace.must_be_settled()
    return shared


def _run(place: Place) -> None:
    backup = _put_backup(place)
    with tempfile.TemporaryDirectory(prefix="terraform-") as name:
        first = _workspace(Path(name) / "first", place, backup)
        before = _apply(first, place, [place.recipient])
        after = _apply(first, place, [place.recipient, place.other])
        # The provider replaces the resource on every change of recipients.
        _must_be("ids kept over a change of recipients", set(before.values()) & set(after.values()), set())

        second = _workspace(Path(name) / "second", place, backup)
        shutil.copy(first.folder / "terraform.tfvars.json", second.folder)
        second.say("import", _ADDRESS, backup)
        second.must_be_settled()
        second.say("destroy", "-auto-approve")
    # The provider reports a failed cancel as success, so ask the service.
    _must_be("sharings after destroy", _count(place, backup), 0)


def _version() -> str:
    # Warnings about the user's CLI configuration may come first.
    printed = command(_program(), "version").splitlines()
    return next((line for line in printed if line.startswith(("OpenTofu v", "Terraform v"))), "")


ROWS = [
    Row(
        name="Terraform",
        api="REST",
        what="the resource opentelekomcloud_vbs_backup_share_v2: apply, change, import, destroy",
        missing=_missing,
        build=_build,
        run=_run,
        version=_version,
        notices=frozenset({"field", "null", "time"}),
    )
]
"""Rows that this module adds to the table."""
