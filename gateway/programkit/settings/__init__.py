"""Settings of a program: flags, environment and a TOML file, from one declaration of each setting."""

from programkit.settings.described import Setting
from programkit.settings.invalid import InvalidSettings
from programkit.settings.kinds import (
    LOOPBACK,
    SPLIT,
    Bytes,
    Days,
    Metavar,
    MinimumLevel,
    Name,
    Names,
    Seconds,
    Subject,
    Traces,
    Url,
    is_host_and_port,
    is_on,
    split,
)
from programkit.settings.loading import MISSING, ProgramSettings, load, misspelt_variables, warn_of_misspelt_variables

__all__ = [
    "LOOPBACK",
    "MISSING",
    "SPLIT",
    "Bytes",
    "Days",
    "InvalidSettings",
    "Metavar",
    "MinimumLevel",
    "Name",
    "Names",
    "ProgramSettings",
    "Seconds",
    "Setting",
    "Subject",
    "Traces",
    "Url",
    "is_host_and_port",
    "is_on",
    "load",
    "misspelt_variables",
    "split",
    "warn_of_misspelt_variables",
]
