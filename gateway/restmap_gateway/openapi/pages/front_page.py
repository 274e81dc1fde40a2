"""The page at ``/``, which shows a person the way to the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

import orjson

from restmap_gateway.openapi.pages.docs_page import DESCRIPTION_PATH, OLDER_DESCRIPTION_PATH, PAGE_PATH, PROTOS_PATH
from restmap_gateway.transcode.pages import Page

_TITLES: Final[Mapping[str, str]] = {
    PAGE_PATH: "Documentation: all calls, to read and to try",
    DESCRIPTION_PATH: "OpenAPI 3.1 description, for tools",
    OLDER_DESCRIPTION_PATH: "OpenAPI 3.0 description, for older tools",
    PROTOS_PATH: "Descriptor set of the protos, for gRPC clients",
}
"""Titles of the documents that people look for."""

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Vary": "Accept",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# Links are relative, so that the page also works behind a proxy that serves it below another path.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<ul>
{links}
</ul>
</body>
</html>
"""


def front_page(description: bytes, health_path: str) -> Page:
    """Return the page.

    Args:
        description: OpenAPI as JSON.
        health_path: path of the page that reports readiness.
    """
    about = orjson.loads(description)["info"]
    titles = {**_TITLES, health_path: "Health"}
    links = (f'<li><a href="{escape(path[1:])}">{escape(title)}</a></li>' for path, title in titles.items())
    body = _PAGE.format(
        title=escape(f"{about['title']} {about['version']}"),
        about=escape(about["description"].replace("`", "")),
        links="\n".join(links),
    )
    return Page("text/html; charset=utf-8", body.encode(), _HEADERS)
