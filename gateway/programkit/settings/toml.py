"""Settings as TOML: a commented sample, and the effective values with their origins."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from programkit.secrets import redacted
from programkit.settings.described import Setting
from programkit.settings.loading import Given, ProgramSettings

_WIDTH: Final = 78


def sample(model: type[ProgramSettings]) -> str:
    """Return a section of a file with every setting, commented out, with its meaning, unit and default."""
    lines = [f"# Settings of {model.model_config.get('cli_prog_name')}. Remove the # before a name to set it."]
    lines += [f"[{model.section}]"] if model.section else []
    settings = [setting for setting in model.described() if setting.name != "config"]
    for subject, of_subject in groupby(settings, key=lambda setting: setting.subject):
        lines += ["", f"### {subject}"]
        lines += [line for setting in of_subject for line in _sampled(setting)]
    return "\n".join(lines) + "\n"


def _sampled(setting: Setting) -> Iterator[str]:
    text = f"{setting.description[:1].upper()}{setting.description[1:]}."
    yield ""
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    value = f"List of {setting.metavar}" if setting.kind is list else setting.metavar or "true or false"
    default = " Required." if setting.is_required else ""
    if setting.shown_default:
        default = f" Default: {written(setting.default)}"
    yield f"# {', '.join((value, *setting.bounds))}.{default}"
    yield f"#{setting.name} = {written(_example(setting))}"


def _example(setting: Setting) -> object:
    if setting.default is not None:
        return setting.default
    examples = {bool: False, int: 0, float: 0, list: []}
    return next(iter(setting.choices), examples.get(setting.kind, setting.metavar))


def written(value: object) -> str:
    """Return a value in TOML, whose texts, numbers, switches and lists of them are written as in JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)


def effective(model: type[ProgramSettings], given: Given, valid: ProgramSettings | None) -> str:
    """Return every setting with its value and its origin, without secrets.

    Args:
        model: the settings class.
        given: what each source gives.
        valid: the validated settings; None if they are invalid, and the values are shown as they are given.
    """
    values: Mapping[str, Any] = given.merged if valid is None else valid.model_dump()
    lines = [f"[{model.section}]"] if model.section else []
    for setting in model.described():
        value = values.get(setting.name, setting.default)
        of = given.origin(setting)
        lines.append(
            f"# {setting.name} is not set"
            if value is None
            else f"{setting.name} = {written(without_secrets(value))}  # {of}"
        )
    return "\n".join(lines) + "\n"


def without_secrets(value: object) -> object:
    """Return a value with ``***`` instead of a password."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    return redacted(str(value)) if isinstance(value, str | Path) else value
