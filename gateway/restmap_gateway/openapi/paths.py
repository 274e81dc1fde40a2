"""Path templates of ``google.api.http`` → paths of OpenAPI, where a parameter matches exactly one segment."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from restmap_gateway.schema.http_rule import Template, Variable, Wildcard

_SAFE = "-._~!$&'()+,;=@"
"""Characters of a literal besides letters and digits; ``:`` only begins a verb."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A template segment that matches any text."""

    name: str
    """Name of the parameter."""
    variable: Variable | None
    """Variable of the segment; None: a wildcard outside of variables, whose value is not used."""
    pattern: str
    """Pattern of the variable with ``{}`` for this wildcard (``shelves/{}``); empty for one whole segment."""
    is_open: bool
    """Whether the segment matches any number of segments, or none."""


@dataclass(frozen=True, slots=True)
class Path:
    """A template in terms of OpenAPI."""

    parts: tuple[str | Slot, ...]
    """Percent-encoded literals, and parameters."""
    verb: str
    """The verb with its colon; empty for none."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return the parameters from left to right."""
        return tuple(part for part in self.parts if isinstance(part, Slot))

    @property
    def shape(self) -> tuple[str | None, ...]:
        """Return a key that is equal for paths that differ only in the names of parameters."""
        return (*(part if isinstance(part, str) else None for part in self.parts), self.verb)

    def text(self, names: tuple[str, ...]) -> str:
        """Return the key in ``paths``, with these names of the parameters."""
        left = iter(names)
        segments = (part if isinstance(part, str) else f"{{{next(left)}}}" for part in self.parts)
        return f"/{'/'.join(segments)}{self.verb}"


def path_of(template: Template) -> Path:
    """Convert a template to OpenAPI.

    A variable of several segments becomes its literals, and one parameter per wildcard: with the variable's name if it
    has one wildcard, else numbered. Names have no dots, which many OpenAPI tools cannot handle.
    """
    names: set[str] = set()
    parts: list[str | Slot] = []
    for index, segment in enumerate(template.segments):
        if isinstance(segment, str):
            parts.append(quote(segment, safe=_SAFE))
            continue
        variable = next((one for one in template.variables if index in one.indexes(len(template.segments))), None)
        name = _name(template, variable, index)
        while name in names:
            name += "_"
        names.add(name)
        pattern = _pattern(template, variable, index) if variable is not None and variable.is_multi_segment else ""
        parts.append(Slot(name, variable, pattern, segment is Wildcard.REMAINING))
    verb = f":{quote(template.verb, safe=_SAFE)}" if template.verb else ""
    return Path(tuple(parts), verb)


def _name(template: Template, variable: Variable | None, index: int) -> str:
    if variable is None:
        return f"segment_{index + 1}"
    wildcards = [at for at in _indexes(template, variable) if isinstance(template.segments[at], Wildcard)]
    name = "_".join(variable.field_path)
    return name if len(wildcards) == 1 else f"{name}_{wildcards.index(index) + 1}"


def _pattern(template: Template, variable: Variable, index: int) -> str:
    segments = [template.segments[at] for at in _indexes(template, variable)]
    texts = [segment.value if isinstance(segment, Wildcard) else segment for segment in segments]
    texts[_indexes(template, variable).index(index)] = "{}"
    return "/".join(texts)


def _indexes(template: Template, variable: Variable) -> range:
    return variable.indexes(len(template.segments))
