"""Documentation of the API: Swagger UI from its package, OpenAPI, and the protos."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from html import escape
from importlib import resources

import orjson

from restmap_gateway.transcode.pages import COMPRESS_FROM, Page

DESCRIPTION_PATH = "/openapi.json"
OLDER_DESCRIPTION_PATH = "/openapi-3.0.json"
PAGE_PATH = "/docs"
PROTOS_PATH = "/protos.binpb"

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FRESH = _SAFE | {"Cache-Control": "no-cache"}
_KEPT = _SAFE | {"Cache-Control": "public, max-age=3600"}

_LEVEL = 6
"""Level of gzip; level 9 makes the files of a large API 0.4 % smaller in the double time."""

_ASSETS: Mapping[str, str] = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""Files that are served from the package, and their content types."""

PATHS = (
    *(DESCRIPTION_PATH, PROTOS_PATH, PAGE_PATH, f"{PAGE_PATH}/start.js", f"{PAGE_PATH}/start.css"),
    *(f"{PAGE_PATH}/{name}" for name in _ASSETS),
)
"""Paths of all pages."""

# Links are relative, so that the page also works behind a proxy that serves it below another path.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/start.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the description itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# The page calls the host that served it, the only one that its policy allows, whatever address is published.
_START = """"use strict";
const description = new URL("openapi.json", document.baseURI).href;
const here = new URL(".", document.baseURI).href.replace(/\\/$/, "");
SwaggerUIBundle({
  url: description,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  syntaxHighlight: { theme: "agate" },
  validatorUrl: null,
  responseInterceptor: (response) => {
    if (response.url === description) {
      response.text = JSON.stringify({ ...JSON.parse(response.text), servers: [{ url: here }] });
    }
    return response;
  },
});
"""

# Hide the server list and links, because there is one server and no links. All failures have one shape, so 400 shows it
# and the others are one line each. An empty parameter is the same as none, so there is no box to choose it. On a narrow
# screen, the description of a service is below its name, where it has the whole width.
_STYLE = """body { margin: 0; }
.operation-servers, .scheme-container :is(.servers-title, .servers), .response-col_links { display: none; }
.responses-table tr.response:is([data-code^="4"], [data-code^="5"]):not([data-code="400"])
  :is(.response-controls, .model-example, .headers-wrapper) { display: none; }
.parameter__empty_value_toggle { display: none; }
.swagger-ui :is(.opblock-tag > a, .opblock-summary-path, .info .title, .info a) {
  overflow-wrap: anywhere;
  min-width: 0;
}
@media (max-width: 900px) {
  .swagger-ui .opblock-tag { flex-wrap: wrap; font-size: 20px; }
  .swagger-ui .opblock-tag > a { flex: 1; }
  .swagger-ui .opblock-tag > small { flex: 1 0 100%; order: 1; padding: 10px 0 0; }
}
"""


def pages(description: bytes, protos: bytes) -> Mapping[str, Page]:
    """Return the descriptions, the documentation page, and all files that it loads, by path.

    Args:
        description: OpenAPI as JSON.
        protos: a serialized ``FileDescriptorSet``, for generating stubs.
    """
    title = orjson.loads(description)["info"]["title"]
    page = _PAGE.format(title=escape(str(title))).encode()
    large = {
        DESCRIPTION_PATH: ("application/json", description, _FRESH),
        PROTOS_PATH: ("application/x-protobuf", protos, _FRESH),
        **{f"{PAGE_PATH}/{name}": (content_type, _asset(name), _KEPT) for name, content_type in _ASSETS.items()},
    }
    with ThreadPoolExecutor() as threads:  # zlib works without the interpreter's lock
        compressed = dict(zip(large, threads.map(lambda page: _large(*page), large.values()), strict=True))
    return {
        **compressed,
        PAGE_PATH: Page("text/html; charset=utf-8", page, _FRESH | {"Content-Security-Policy": _POLICY}),
        f"{PAGE_PATH}/start.js": Page("text/javascript; charset=utf-8", _START.encode(), _FRESH),
        f"{PAGE_PATH}/start.css": Page("text/css; charset=utf-8", _STYLE.encode(), _FRESH),
    }


def description_page(description: bytes) -> Page:
    """Return a description as JSON as a page."""
    return _large("application/json", description, _FRESH)


def _large(content_type: str, body: bytes, headers: Mapping[str, str]) -> Page:
    gzipped = gzip.compress(body, _LEVEL, mtime=0) if len(body) >= COMPRESS_FROM else b""
    return Page(content_type, body, headers, gzipped)


def _asset(name: str) -> bytes:
    return resources.files("openapi_ui_bundles").joinpath("swagger_ui", "vendor", name).read_bytes()
