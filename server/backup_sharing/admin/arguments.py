"""A check of every command line of ``backup-sharing``, where the service is installed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from backup_sharing.password_advice import ADVICE
from programkit.secrets import secret_in


def refuse_passwords(arguments: Sequence[str]) -> None:
    """Return if no argument holds a password.

    Raises:
        click.UsageError: one does; the message names the option and does not repeat the password.
    """
    if option := secret_in(arguments):
        raise click.UsageError(f"{option}: {ADVICE}")
