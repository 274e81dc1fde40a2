"""Descriptions of all settings, taken from their declarations."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from programkit.settings.kinds import Metavar, Subject

_WORDS: Final = {Path: "FILE", int: "N", float: "N"}
_KINDS: Final = (bool, int, float, str, Path, list)
_BOUNDS: Final = ((annotated_types.Gt, "gt", ">"), (annotated_types.Ge, "ge", "≥"), (annotated_types.Le, "le", "≤"))


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a program, as help, manuals and messages name it."""

    name: str
    """Name in a file."""
    flag: str
    variable: str
    """Name of its environment variable."""
    subject: str
    description: str
    metavar: str
    """Word that stands for a value; empty for a switch."""
    default: Any
    """None: it has no default."""
    is_required: bool
    bounds: tuple[str, ...]
    """Limits of a number, such as "≥ 1"."""
    kind: type
    """Type of a value: bool, int, float, str, Path or list."""
    choices: tuple[str, ...]
    """The only values; empty: any."""

    @property
    def shown_default(self) -> str:
        """The default as a person writes it, or an empty text."""
        return shown(self.default)


def shown(value: object) -> str:
    """Return a value as a person writes it on a command line; an empty text for None and for an empty list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).removesuffix(".0")


def described(model: type[BaseSettings], required: frozenset[str] = frozenset()) -> list[Setting]:
    """Return all settings of a model in the order of their declarations.

    Args:
        model: the settings class.
        required: names that are required although they have a default in the model.
    """
    settings, subject = [], ""
    for name, field in model.model_fields.items():
        subject = next((one.title for one in field.metadata if isinstance(one, Subject)), subject)
        settings.append(_described(model, name, field, subject, field.is_required() or name in required))
    return settings


def _described(model: type[BaseSettings], name: str, field: FieldInfo, subject: str, is_required: bool) -> Setting:
    annotation = list(_unfolded(field.annotation))
    kind, choices = _kind(annotation)
    parts = [*field.metadata, *annotation]
    word = next((one.word for one in parts if isinstance(one, Metavar)), "")
    if choices:
        word = f"{{{','.join(choices)}}}"
    return Setting(
        name=name,
        flag=f"--{name.replace('_', '-')}",
        variable=f"{model.model_config.get('env_prefix', '')}{name}".upper(),
        subject=subject,
        description=field.description or "",
        metavar="" if kind is bool else word or _WORDS.get(kind, "TEXT"),
        default=None if field.is_required() else field.default,
        is_required=is_required,
        bounds=tuple(f"{sign} {getattr(p, of)}" for bound, of, sign in _BOUNDS for p in parts if isinstance(p, bound)),
        kind=kind,
        choices=choices,
    )


def _unfolded(annotation: object) -> Iterator[object]:
    """Yield the types of an annotation, without None, and its markers."""
    if get_origin(annotation) is Annotated:
        inner, *markers = get_args(annotation)
        yield from markers
        yield from _unfolded(inner)
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _unfolded(one)
    elif annotation is not types.NoneType:
        yield annotation


def _kind(annotation: list[object]) -> tuple[type, tuple[str, ...]]:
    """Return the type of a value, and its only values if it is a `Literal`."""
    for part in annotation:
        if get_origin(part) is Literal:
            return str, tuple(map(str, get_args(part)))
    kinds = (get_origin(part) or part for part in annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and kind in _KINDS), str), ()
