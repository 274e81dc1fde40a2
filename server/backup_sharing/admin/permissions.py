"""``backup-sharing policy``: the authorization table."""

from __future__ import annotations

import click

from backup_sharing.usecases import policy


@click.command("policy")
def policy_command() -> None:
    """Print the roles that may call each method."""
    rows = list(policy.table())
    width = max(len(method) for method, _ in rows)
    for method, roles in rows:
        click.echo(f"{method:<{width}}  {roles}")
    click.echo(f"\nOnly the role '{policy.ANY_PROJECT}' may act for a project other than its own.")
    click.echo("The role 'service' may check the access and read the events of every project.")
