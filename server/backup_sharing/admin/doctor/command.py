"""``backup-sharing doctor``: check an installation of the server or of the gateway."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence

import click

from backup_sharing import config, gateway_program
from backup_sharing.admin.doctor import server
from programkit.doctor.findings import Check, Finding, State, examine, failed, worst
from programkit.process.reloads import CannotReload, loaded


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--gateway", "is_gateway", is_flag=True, help="Check the gateway instead of the server.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--within", type=click.FloatRange(min=0, min_open=True, max=3600), default=10.0, metavar="SECONDS",
    help="Seconds after which a check that hangs has failed.",
)  # fmt: skip
@click.argument("settings", nargs=-1, type=click.UNPROCESSED, metavar="[SETTINGS]...")
def doctor(is_gateway: bool, form: str, within: float, settings: tuple[str, ...]) -> None:
    """Check the database, Keystone, tokens, certificates and limits that a server is configured with.

    SETTINGS are the server's own flags, such as --config FILE or --database FILE; its environment variables count as
    well. With --gateway, they are those of the gateway, and its servers and certificates are checked. Changes nothing.

    Exits with 0 if all is well, with 1 after a warning, and with 2 if something has failed.
    """
    rows, hangs = _examined(settings, within, is_gateway=is_gateway)
    state = worst(rows)
    if form == "json":
        program = "gateway" if is_gateway else "server"
        findings = [_as_json(name, finding) for name, finding in rows]
        click.echo(json.dumps({"program": program, "state": state.name.lower(), "findings": findings}, indent=1))
    else:
        for name, finding in rows:
            click.echo(f"{finding.state.name.lower():<8} {name}: {finding.text}")
            if finding.advice:
                click.echo(f"{'':<8} -> {finding.advice}")
    if hangs:
        # A normal exit would wait for threads of libraries.
        sys.stdout.flush()
        os._exit(state)
    raise SystemExit(int(state))


def _examined(settings: Sequence[str], within: float, *, is_gateway: bool) -> tuple[list[tuple[str, Finding]], bool]:
    try:
        checks = _checks(settings, within, is_gateway=is_gateway)
    except CannotReload as error:
        return [("settings", failed(str(error), "correct the settings"))], False
    return examine(checks, within)


def _checks(settings: Sequence[str], within: float, *, is_gateway: bool) -> Mapping[str, Check]:
    if is_gateway:
        return gateway_program.checks(settings, within)
    return server.checks(loaded(lambda: config.load(settings)), within)


def _as_json(name: str, finding: Finding) -> dict[str, str]:
    return {"check": name, "state": State(finding.state).name.lower(), "text": finding.text, "advice": finding.advice}
