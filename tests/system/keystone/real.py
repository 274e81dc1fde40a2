"""Real Keystone on this machine: SQLite, Fernet tokens, all files in one folder."""

from __future__ import annotations

import getpass
import grp
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import free_address
from tests.support.programs import PATIENCE

_HERE = Path(__file__).parent
_CONFIGURATION = """
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
expiration = {expiration}
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[cache]
enabled = false
[identity]
# The fewest rounds: each login would take a quarter of a second.
password_hash_rounds = 4
"""


class RealKeystone:
    """Keystone process, with methods to create its objects."""

    def __init__(self, python: Path, folder: Path) -> None:
        """Create the database and the first administrator with the programs beside ``python``."""
        self.python = python
        self._folder = folder
        self._configuration = folder / "keystone.conf"
        self.address = free_address()
        self.url = f"http://{self.address}"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("fernet", "credential"):
            (folder / name).mkdir(mode=0o700)
        self._configure(expiration=3600)
        self._manage("db_sync")
        me = ("--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name)
        self._manage("fernet_setup", *me)
        self._manage("credential_setup", *me)
        self._manage("bootstrap", "--bootstrap-password", "admin", "--bootstrap-region-id", "RegionOne",
                     "--bootstrap-public-url", f"{self.url}/v3")  # fmt: skip

    def start(self, expiration: int = 3600) -> None:
        """Serve; new tokens expire after this many seconds."""
        self._configure(expiration)
        command = (str(self.python), str(_HERE / "serve.py"), str(self._configuration), self.address)
        with (self._folder / "keystone.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/v3", timeout=5):  # noqa: S310 - our own process
                    return
            except OSError:
                assert self._process.poll() is None, (self._folder / "keystone.log").read_text()
                time.sleep(0.1)
        raise AssertionError("Keystone does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def token(self, user: str, password: str, scope: dict[str, Any] | str) -> str:
        """Log in; ``scope`` is a scope of Keystone's API, or ``unscoped``."""
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}},
        }
        return self._logged_in({"identity": identity, "scope": scope})

    def token_of_credential(self, identifier: str, secret: str) -> str:
        """Log in with an application credential."""
        credential = {"id": identifier, "secret": secret}
        return self._logged_in(
            {"identity": {"methods": ["application_credential"], "application_credential": credential}}
        )

    def application_credential(self, token: str, name: str, **members: object) -> str:
        """Create an application credential of a token's user with the secret ``s3cret``; return its id."""
        body, _ = self._call("GET", "/auth/tokens", token=token, headers={"X-Subject-Token": token})
        wanted = {"name": name, "secret": "s3cret", **members}
        path = f"/users/{body['token']['user']['id']}/application_credentials"
        made, _ = self._call("POST", path, {"application_credential": wanted}, token=token)
        return str(made["application_credential"]["id"])

    def _logged_in(self, auth: object) -> str:
        _, headers = self._call("POST", "/auth/tokens", {"auth": auth}, token=None)
        return str(headers["X-Subject-Token"])

    def of_project(self, name: str) -> dict[str, Any]:
        """Return the scope of a project."""
        return {"project": {"name": name, "domain": {"id": "default"}}}

    def revoke(self, token: str) -> None:
        self._call("DELETE", "/auth/tokens", token=token, headers={"X-Subject-Token": token})

    def create(self, kind: str, **members: object) -> str:
        """Create a project, user, service or endpoint; return its id."""
        body, _ = self._call("POST", f"/{kind}s", {kind: members}, token=self._admin())
        return str(body[kind]["id"])

    def grant(self, role: str, user_id: str, project_id: str | None = None) -> None:
        """Grant a role on a project, or on the default domain."""
        found, _ = self._call("GET", f"/roles?name={role}", token=self._admin())
        on = f"projects/{project_id}" if project_id else "domains/default"
        self._call("PUT", f"/{on}/users/{user_id}/roles/{found['roles'][0]['id']}", token=self._admin())

    def _admin(self) -> str:
        return self.token("admin", "admin", self.of_project("admin"))

    def _call(
        self, method: str, path: str, body: object = None, *, token: str | None, headers: dict[str, str] | None = None
    ) -> tuple[Any, Any]:
        sent = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {}), **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v3{path}", data, sent, method=method)  # noqa: S310 - as above
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - as above
                raw = response.read()
                return json.loads(raw) if raw else None, response.headers
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def _configure(self, expiration: int) -> None:
        self._configuration.write_text(_CONFIGURATION.format(folder=self._folder, expiration=expiration))

    def _manage(self, *arguments: str) -> None:
        command = (str(self.python.parent / "keystone-manage"), "--config-file", str(self._configuration), *arguments)
        done = subprocess.run(command, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
