"""``backup-sharing``: the commands for people, and those that other packages add."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

from backupsharing.commands.sharings import COMMANDS

ADDED: Final = "backupsharing.commands"
"""The group of entry points that add a command each: its name, and the `click.Command`."""

CHECKS: Final = "backupsharing.arguments"
"""The group of entry points that are given all arguments before anything else; they may raise `click.UsageError`."""


class Commands(click.Group):
    """Commands of this package and of entry points. Those are imported when they are used, or listed with their help.

    A command of this package wins over an added one of the same name.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Have the arguments checked before anything else can repeat them."""
        for check in entry_points(group=CHECKS):
            check.load()(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted({*self.commands, *_added()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if there is none."""
        if cmd_name not in self.commands and cmd_name in _added():
            self.add_command(_added()[cmd_name].load(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def load_all(self) -> None:
        """Import what is added; from then on ``commands`` holds every command."""
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

    share, cancel, list, show and count are for using the service, wherever it runs. Where it is
    installed, backup-sharing-server and backup-sharing-gateway run it, and more commands here are
    for trying it, and for looking after it.
    """


for _command in COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    main()
