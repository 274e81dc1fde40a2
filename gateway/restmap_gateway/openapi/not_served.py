"""The part of a description that names the rules which the gateway cannot serve."""

from __future__ import annotations

from restmap_gateway.schema.schema import Schema, Unserved


def not_served(schema: Schema) -> str:
    """Return a list in Markdown, to append to the description of the API; empty if all rules are served."""
    if not schema.unserved:
        return ""
    lines = "\n".join(map(_line, schema.unserved))
    return (
        f"\n\nThe gateway cannot serve these methods; their paths return 501 unless another method has them.\n\n{lines}"
    )


def _line(one: Unserved) -> str:
    rule = f" (`{one.rule}`)" if one.rule else ""
    return f"- `{one.method}`{rule}: {one.reason}"
