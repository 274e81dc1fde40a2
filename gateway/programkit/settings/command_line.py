"""The flags of a program, and its help: settings in groups by subject."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final, NoReturn

from pydantic_settings import CliSettingsSource

from programkit.secrets import redacted
from programkit.settings.described import Setting
from programkit.settings.invalid import InvalidSettings
from programkit.settings.suggestion import did_you_mean

_SOURCES: Final = (
    "Every option can also be set in the environment (--an-option as {prefix}AN_OPTION) or in a TOML file (an_option)"
    " named by --config. Options override the environment, and the environment overrides the file."
)


class Parser(argparse.ArgumentParser):
    """A parser that a `CliSettingsSource` fills, which puts each flag into the group of its subject.

    Mistakes raise `InvalidSettings`. Unknown arguments are kept, to report them with other mistakes.
    """

    def __init__(self, program: str, distribution: str, about: str, prefix: str, settings: Sequence[Setting]) -> None:
        required = "".join(f" {setting.flag} {setting.metavar}" for setting in settings if setting.is_required)
        super().__init__(
            prog=program,
            usage=f"{program}{required} [OPTION]...",
            description=about,
            epilog=_SOURCES.format(prefix=prefix),
            allow_abbrev=False,
            add_help=False,
        )
        self._settings = {setting.name: setting for setting in settings}
        self._unknown: list[str] = []
        self._known: list[str] = []
        self._groups = {setting.subject: self.add_argument_group(setting.subject) for setting in settings}
        first = next(iter(self._groups.values()), self)
        first.add_argument("-h", "--help", action="help", help="print this help")
        first.add_argument(
            "--version", action=_PrintVersion, nargs=0, const=distribution, help="print the version of the program"
        )

    def add_setting(self, *names: str, dest: str, **options: Any) -> argparse.Action:  # noqa: ANN401 -- of argparse
        """Add the flag of a setting, with the options that `CliSettingsSource` found for it."""
        setting = self._settings[dest]
        if "metavar" in options:
            options["metavar"] = setting.metavar
        action = self._groups[setting.subject].add_argument(*names, dest=dest, **options)
        action.help = _help(setting).replace("%", "%%")
        self._known += action.option_strings
        return action

    def parse_known(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the known arguments, and keep the others for ``unknown``."""
        known, self._unknown = self.parse_known_args(arguments)
        return known

    def unknown(self) -> list[str]:
        """Return a message for each unknown argument. A message has no value, which may be a secret."""
        words = takewhile(lambda word: word != "--", self._unknown)
        flags = [redacted(word.partition("=")[0]) for word in words if word.startswith("-")]
        if self._unknown and not flags:
            return ["an argument belongs to no option"]
        return [f"{flag}: there is no such option{did_you_mean(flag, self._known)}" for flag in flags]

    def error(self, message: str) -> NoReturn:
        """Raise `InvalidSettings`."""
        raise InvalidSettings(redacted(message.removeprefix("argument ")))


def source_of(settings: type[Any], parser: Parser) -> CliSettingsSource[Parser]:
    """Return the library's source for the flags of a settings class, which fills the parser."""
    return CliSettingsSource(
        settings,
        root_parser=parser,
        parse_args_method=Parser.parse_known,
        add_argument_method=Parser.add_setting,
    )


def _help(setting: Setting) -> str:
    if setting.is_required:
        return f"{setting.description} [required]"
    default = setting.shown_default
    return f"{setting.description} [default: {default}]" if default else setting.description


class _PrintVersion(argparse.Action):
    """Prints the name of the program and the version of a distribution."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # it searches the disk, so not at each start

        print(parser.prog, version(str(self.const)))  # noqa: T201 - a user asked for it
        parser.exit()
