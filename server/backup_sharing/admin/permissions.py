"""``backup-sharing policy``: authorization as a table."""

from __future__ import annotations

import click

from backup_sharing.usecases import policy


@click.command("policy")
def policy_command() -> None:
    """Print who may call what."""
    rows = list(policy.table())
    width = max(len(method) for method, _ in rows)
    for method, roles in rows:
        click.echo(f"{method:<{width}}  {roles}")
    click.echo(f"\nOf other projects than the one in the request only '{policy.ANY_PROJECT}' is let in.")
