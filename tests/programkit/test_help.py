"""Help of a program, its version, and suggestions for misspelt names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

import backup_sharing.config
from backup_sharing.admin.cli import main
from backup_sharing.gateway_program import Settings as GatewaySettings
from programkit.settings import (
    Days,
    Metavar,
    Names,
    ProgramSettings,
    Seconds,
    Subject,
    Url,
    load,
    misspelt_variables,
)

Pairs = Annotated[list[str], Metavar("NAME=ROLE")]


class Settings(ProgramSettings):
    """Serve tea."""

    model_config = SettingsConfigDict(env_prefix="TEAPOT_", cli_prog_name="teapot")
    section = "server"
    distribution = "pytest"

    leaves: Annotated[Path, Subject("Tea")] = Field(description="file with the leaves")
    cups: int = Field(2, ge=1, le=9, description="number of cups, 100 % porcelain")
    steep: Seconds = Field(180.0, gt=0, description="time in the water")
    sorts: Names = Field(["green", "black"], description="sorts of tea")
    milk: Annotated[bool, Subject("Milk")] = Field(False, description="with milk")
    warm: bool = Field(True, description="warm milk")
    keep: Days | None = Field(None, description="age of the milk")
    shop: Url | None = Field(None, description="where to buy milk")
    fat: Literal["whole", "skimmed"] = Field("whole", description="kind of milk")
    guests: Pairs = Field([], description="who gets milk")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in [name for name in os.environ if name.upper().startswith(("TEAPOT_", "BACKUP_SHARING_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Load settings of a program that exits; return what it prints on either stream."""

    def printed(model: type[ProgramSettings], *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as exit_:
            load(model, arguments)
        assert exit_.value.code == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return printed


HELP = """\
usage: teapot --leaves FILE [OPTION]...

Serve tea.

General:
  -h, --help            print this help
  --version             print the version of the program
  --config FILE         TOML file with settings

Tea:
  --leaves FILE         file with the leaves [required]
  --cups N              number of cups, 100 % porcelain [default: 2]
  --steep SECONDS       time in the water [default: 180]
  --sorts NAME          sorts of tea [default: green,black]

Milk:
  --milk, --no-milk     with milk [default: off]
  --warm, --no-warm     warm milk [default: on]
  --keep DAYS           age of the milk
  --shop URL            where to buy milk
  --fat {whole,skimmed}
                        kind of milk [default: whole]
  --guests NAME=ROLE    who gets milk

Every option can also be set in the environment (--an-option as
TEAPOT_AN_OPTION) or in a TOML file (an_option) named by --config. Options
override the environment, and the environment overrides the file.
"""


def test_help_is_grouped_by_subject_in_the_declared_order(printed: Callable[..., str]) -> None:
    assert printed(Settings, "--help") == HELP


REAL = pytest.mark.parametrize("model", [backup_sharing.config.Settings, GatewaySettings], ids=["server", "gateway"])


@REAL
def test_help_fits_a_terminal_and_has_no_python_types(
    printed: Callable[..., str], model: type[ProgramSettings]
) -> None:
    text = printed(model, "--help")
    assert [line for line in text.splitlines() if len(line) > 80] == []
    flags = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("-"))
    assert re.findall(r"\b(?:str|int|float|list|Path|None|bool|TEXT)\b", flags) == []
    assert "None" not in text


RATES = {"max_project_rate", "max_failed_identities"}
"""Settings that may have a fraction, and count."""


@REAL
def test_a_setting_with_a_fraction_names_its_unit(model: type[ProgramSettings]) -> None:
    units = {setting.name: setting.metavar for setting in model.described() if setting.kind is float}
    assert units
    assert {name for name, unit in units.items() if unit == "N"} <= RATES, "declare it as Seconds or Days"


def test_the_version_is_that_of_the_distribution(printed: Callable[..., str]) -> None:
    assert printed(Settings, "--version") == f"teapot {pytest.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cusp", "3"], "--cusp: there is no such option; did you mean --cups?"),
        (["--no-mlik"], "--no-mlik: there is no such option; did you mean --no-milk?"),
        (["--leavs=x"], "--leavs: there is no such option; did you mean --leaves?"),
        (["--sugar", "3"], "--sugar: there is no such option"),
        (["--cup", "3"], "--cup: there is no such option; did you mean --cups?"),
    ],
)
def test_an_unknown_flag_is_reported_with_a_suggestion(
    printed: Callable[..., str], arguments: list[str], said: str
) -> None:
    lines = printed(Settings, *arguments, "--cups", "0", code=2).splitlines()
    assert lines[0] == said
    assert [line.split(" ")[0] for line in lines[1:]] == ["--leaves", "--cups"]


@pytest.mark.parametrize("arguments", [["3"], ["--", "--cups"], [""]])
def test_a_value_without_a_flag_is_not_repeated(printed: Callable[..., str], arguments: list[str]) -> None:
    assert printed(Settings, "--leaves", "x", *arguments, code=2).startswith(("an argument belongs", "--cups: "))


def test_a_flag_without_its_value_is_named(printed: Callable[..., str]) -> None:
    assert printed(Settings, "--cups", code=2) == "--cups: expected one argument\n"


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("TEAPOT_CUSP", None),  # too short to be sure
        ("TEAPOT_LEAVE", "TEAPOT_LEAVES"),
        ("teapot_leave", "TEAPOT_LEAVES"),
        ("TEAPOT_STEEEP", "TEAPOT_STEEP"),
        ("TEAPOT_COLOUR", None),
        ("TEAPOT_VERSION", None),
        ("TEAPOT_LEAVES", None),
        ("teapot_leaves", None),
        ("POT_LEAVE", None),
        ("TEAPOT_", None),
    ],
)
def test_a_variable_that_is_nearly_right_is_misspelt(
    monkeypatch: pytest.MonkeyPatch, variable: str, right: str | None
) -> None:
    monkeypatch.setenv(variable, "x")
    assert misspelt_variables(Settings) == ([(variable, right)] if right else [])


def variables_of_commands() -> set[str]:
    found: set[str] = set()
    commands = list(main.commands.values())
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for option in command.params:
            named = getattr(option, "envvar", None) or ()
            found |= {named} if isinstance(named, str) else set(named)
    return found


@REAL
def test_no_variable_of_our_programs_is_misspelt(monkeypatch: pytest.MonkeyPatch, model: type[ProgramSettings]) -> None:
    """All programs and commands share a prefix, and often an environment."""
    others = ("VERSION", "GRPC", "REST", "PROJECT", "RECIPIENT", "RECIPIENT_TOKEN", "OTHER", "SERVICE_TOKEN")
    known = {f"BACKUP_SHARING_{name}" for name in others} | variables_of_commands()
    for of in (backup_sharing.config.Settings, GatewaySettings):
        known |= {setting.variable for setting in of.described()}
    assert "BACKUP_SHARING_TOKEN" in known
    for name in known:
        monkeypatch.setenv(name, "x")
    assert misspelt_variables(model) == []
    monkeypatch.setenv("BACKUP_SHARING_DRAIN_TIMOUT", "x")
    assert misspelt_variables(model) == [("BACKUP_SHARING_DRAIN_TIMOUT", "BACKUP_SHARING_DRAIN_TIMEOUT")]
