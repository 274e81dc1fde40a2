"""The JSON Schema of settings in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from programkit.settings.loading import ProgramSettings

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def of_program(model: type[ProgramSettings]) -> dict[str, Any]:
    """Return the schema of a file with the settings of one program.

    No setting is required: each may also be a flag or an environment variable.
    """
    schema = model.model_json_schema()
    schema.pop("required", None)
    schema["properties"].pop("config", None)
    for setting in schema["properties"].values():
        setting.pop("title", None)  # the library makes it from the name
    return {"$schema": _DIALECT, **schema, "title": model.model_config.get("cli_prog_name") or schema["title"]}


def of_sections(models: Mapping[str, type[ProgramSettings]]) -> dict[str, Any]:
    """Return the schema of a file with a section for each program."""
    sections = {name: of_program(model) for name, model in models.items()}
    for section in sections.values():
        section.pop("$schema")
    return {"$schema": _DIALECT, "type": "object", "properties": sections, "additionalProperties": False}
