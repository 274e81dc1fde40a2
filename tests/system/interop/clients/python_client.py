"""Client library of the package, blocking and for asyncio, and the commands for people."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version

from tests.system.distributions.build import DISTRIBUTIONS
from tests.system.interop.rows import BUILD, ROOT, ClientFailed, Place, Row, check_scenario, command

_PYTHON = BUILD / "wheel" / "bin" / "python"
"""Python of an environment with the installed wheel, as users have it; missing files are not found elsewhere."""


@cache
def _install() -> None:
    """Install the wheels once for all rows."""
    folder = BUILD / "wheel"
    command(sys.executable, "-m", "venv", "--clear", str(folder))
    constraints = str(ROOT / "constraints.txt")
    built = folder / "dist"
    for root in DISTRIBUTIONS:
        command(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built), cwd=root)
    # One command for all wheels, because no index has them. Commands log in to Keystone with the extra of the client.
    wheels = [
        f"{one}[commands]" if one.name.startswith("backupsharing_client") else str(one) for one in built.glob("*.whl")
    ]
    command(str(_PYTHON), "-m", "pip", "install", "--quiet", "-c", constraints, *wheels)


def _run_client(place: Place) -> None:
    _example(place, "main.py")


def _run_async_client(place: Place) -> None:
    _example(place, "main_async.py")


def _example(place: Place, name: str) -> None:
    # Run outside the checkout, whose packages would take precedence.
    program = str(ROOT / "examples" / "python-client" / name)
    check_scenario(command(str(_PYTHON), program, cwd=BUILD, environment=place.environment()))


def _run_commands(place: Place) -> None:
    """Run the scenario of examples/README.md with one command per step, logged in through Keystone."""
    run = f"commands-{uuid.uuid4()}"
    first, *more = (str(uuid.uuid4()) for _ in range(3))
    lines = [{"id": one, "project_id": place.project, "status": "available", "name": run} for one in (first, *more)]
    service = {"BACKUP_SHARING_TOKEN": place.service_token, "BACKUP_SHARING_SERVER": place.grpc}
    _command(["import", "-"], service, given="\n".join(map(json.dumps, lines)))

    giver, recipient = _logged_in(place, place.project), _logged_in(place, place.recipient)
    shared = _ids(["share", first, place.recipient, place.other, "--timeout", "10", "--idempotency-key", run], giver)
    _expect(len(shared), 2)
    for backup in more:
        _ids(["share", backup, place.recipient], giver)
    _expect("ALREADY_SHARED BackupSharing.0002" in _command(["share", first, place.recipient], giver, code=1), True)

    received = ["--received", "--name", run]
    listed = json.loads(_command(["list", *received, "--format", "json"], recipient))["shared"]
    _expect({one["backup_id"] for one in listed}, {first, *more})
    _expect(_command(["count", *received], recipient), "3\n")
    of_recipient = next(one["id"] for one in listed if one["backup_id"] == first)
    _expect(of_recipient, shared[0])
    _expect(place.recipient in _command(["show", of_recipient], giver), True)
    checked = json.loads(_command(["check", first, place.recipient, "--format", "json"], recipient))
    _expect(checked["sharing_id"], of_recipient)
    _expect(_ids(["cancel", of_recipient], giver), [of_recipient])
    _expect("SHARING_NOT_FOUND" in _command(["show", of_recipient], giver, code=1), True)
    _command(["check", first, place.recipient], recipient, code=1)
    history = json.loads(_command(["history", "--backup-id", first, "--format", "json"], recipient))["events"]
    _expect([one["kind"] for one in history], ["cancelled", "shared"])
    _expect(_first_event(["--backup-id", first, "--cursor", checked["cursor"]], recipient)["kind"], "cancelled")


def _logged_in(place: Place, project: str) -> dict[str, str]:
    return {
        "BACKUP_SHARING_SERVER": place.grpc,
        "OS_AUTH_URL": place.keystone,
        "OS_USERNAME": place.user,
        "OS_PASSWORD": place.password,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_ID": project,
    }


def _ids(words: Sequence[str], variables: dict[str, str]) -> list[str]:
    return _command([*words, "--format", "id"], variables).split()


def _command(words: Sequence[str], variables: dict[str, str], *, given: str = "", code: int = 0) -> str:
    """Run a command that must end with ``code``; return its output."""
    done = subprocess.run(
        [str(_PYTHON.with_name("backup-sharing")), *words],
        cwd=BUILD,
        env={**_without_ours(), **variables},
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != code:
        raise ClientFailed(f"{' '.join(words)}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done.stdout if code == 0 else done.stderr


def _first_event(options: Sequence[str], variables: dict[str, str]) -> dict[str, str]:
    """Watch until the first event; then end the command as Ctrl-C does."""
    words = [str(_PYTHON.with_name("backup-sharing")), "watch", "--format", "json", *options]
    given = {**_without_ours(), **variables}
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(words, cwd=BUILD, env=given, stdout=pipe, stderr=nothing, text=True) as process:
        assert process.stdout is not None
        # A watch without an event would go on for ever.
        timer = threading.Timer(120, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        process.send_signal(signal.SIGINT)
        process.wait(120)
    if not line or process.returncode != 130:
        raise ClientFailed(f"watch printed {line!r} and ended with {process.returncode}, not 130")
    event: dict[str, str] = json.loads(line)
    return event


def _without_ours() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(("OS_", "BACKUP_SHARING_"))}


def _expect(got: object, expected: object) -> None:
    if got != expected:
        raise ClientFailed(f"got {got!r}, expected {expected!r}")


def _row(name: str, what: str, run: Callable[[Place], None]) -> Row:
    return Row(
        name=name,
        api="gRPC",
        what=what,
        missing=lambda: "",
        build=_install,
        run=run,
        out_of_reach="speaks gRPC, with the stubs that the wheel brings",
        version=lambda: version("backupsharing-client"),
    )


_EXAMPLE = "examples/python-client, backupsharing.client from the wheel"

ROWS = [
    _row("Python client", _EXAMPLE, _run_client),
    _row("Python client, asyncio", _EXAMPLE, _run_async_client),
    _row("Command line", "backup-sharing, every command for people, logged in by Keystone", _run_commands),
]
"""Rows that this module adds to the table."""
