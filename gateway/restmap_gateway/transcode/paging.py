"""Links from one page of a list to the next, for methods with the option ``offset_paging``."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_plus

from google.protobuf.message import Message

from restmap.v1 import restmap_pb2


class Pager:
    """Adds the link to the next page to a response."""

    def __init__(self, paging: restmap_pb2.OffsetPaging) -> None:
        """Take the names of the fields from the option."""
        self._paging = paging

    def add_link(self, answer: dict[str, object], request: Message, response: Message, url: str, query: str) -> None:
        """Add the link if more items follow this page.

        Args:
            answer: JSON object of the response; the link is added to it.
            request: request message.
            response: response message.
            url: absolute URL of the request, without its query.
            query: query as sent.
        """
        if not getattr(response, self._paging.more_field):
            return
        returned = len(getattr(response, self._paging.items_field))
        offset = getattr(request, self._paging.offset_field) + returned
        href = f"{url}?{_with_value(query, self._paging.offset_field, str(offset))}"
        answer[self._paging.links_member] = [{"rel": "next", "href": href}]


def _with_value(query: str, name: str, value: str) -> str:
    """Return the query with one parameter replaced in place or appended; the rest stays as sent."""
    parts = [part for part in query.split("&") if part]
    is_it: Callable[[str], bool] = lambda part: unquote_plus(part.partition("=")[0]) == name  # noqa: E731
    new = f"{name}={value}"
    if any(is_it(part) for part in parts):
        return "&".join(new if is_it(part) else part for part in parts)
    return "&".join([*parts, new])
