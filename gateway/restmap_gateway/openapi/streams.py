"""Describes the body of a stream. OpenAPI 3.1 has no keyword for its items; OpenAPI 3.2 has itemSchema."""

from __future__ import annotations

from restmap_gateway.json_map.line_form import PLAIN, LineForm
from restmap_gateway.openapi.values import Json

_EVENTS = "The `data` of each event is a JSON document: one message, or in the event `error` the final failure."


def stream_content(message: Json, failure: Json, error: Json, form: LineForm) -> Json:
    """Return the content of a streamed response, by media type.

    Args:
        message: schema of a message.
        failure: schema of the body of a failure.
        error: schema of the one member of that body.
        form: form of the lines.
    """
    line = [
        _object_of(form.message, message) if form.message else message,
        failure if form == PLAIN else _object_of(form.failure, error),
    ]
    return {
        "application/x-ndjson": _content(_text_of(form), line),
        "text/event-stream": _content(_EVENTS, [message, failure]),
    }


def _content(text: str, items: list[Json]) -> Json:
    return {"schema": {"type": "string", "description": text}, "x-itemSchema": {"anyOf": items}}


def _text_of(form: LineForm) -> str:
    inside = f" in the member `{form.message}`" if form.message else ""
    return (
        f"Each line is a JSON document with one message{inside}; if the call fails, the last line is an object with "
        f"the one member `{form.failure}`, the failure. The media type is `application/ndjson` or `application/jsonl` "
        "if `Accept` asks for it."
    )


def _object_of(member: str, schema: object) -> Json:
    return {"type": "object", "properties": {member: schema}, "required": [member], "additionalProperties": False}
