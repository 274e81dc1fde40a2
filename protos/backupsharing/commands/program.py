"""``backup-sharing``: the commands for people, and commands that other packages add."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

from backupsharing.commands import access, events, health, sharings

ADDED: Final = "backupsharing.commands"
"""Group of the entry points that add commands: each has a command's name and its `click.Command`."""

CHECKS: Final = "backupsharing.arguments"
"""Group of the entry points that check all arguments before they are parsed; they may raise `click.UsageError`."""


class Commands(click.Group):
    """Commands of this package and of entry points. Entry points are imported when they are used or listed with help.

    A command of this package has precedence over an entry point of the same name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Check the arguments before any message can repeat them."""
        for check in entry_points(group=CHECKS):
            check.load()(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*self.commands, *_added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with a name, or None."""
        if cmd_name not in self.commands and cmd_name in _added():
            self.add_command(_added()[cmd_name].load(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def load_all(self) -> None:
        """Import the commands of all entry points into ``commands``."""
        with click.Context(self) as context:
            for name in self.list_commands(context):
                self.get_command(context, name)


@cache
def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ADDED)}


@click.group(cls=Commands, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="backupsharing-client")
def main() -> None:
    """Share volume backups between cloud projects.

    share, cancel, list, show, count, check, history, watch and health call the service over
    the network. If the package backup-sharing is installed, there are also commands to try and to administer the
    service.
    The programs backup-sharing-server and backup-sharing-gateway run the service.
    """
    # Libraries log what they raise as well, and Python would write that to the terminal.
    if not logging.root.handlers:
        logging.root.addHandler(logging.NullHandler())


for _command in (*sharings.COMMANDS, *access.COMMANDS, *events.COMMANDS, *health.COMMANDS):
    main.add_command(_command)


if __name__ == "__main__":
    main()
