"""A Keystone behind a web server that takes headers of 8190 bytes, as Apache does: ``python -m bench.siege.keystone``.

Good tokens are ``good-PROJECT-ROLE-ANYTHING``; each may validate itself.
"""

from __future__ import annotations

import re
import sys

from aiohttp import web

_LONGEST_LINE = 8190
"""Bytes of a header with its name."""

_GOOD = re.compile(r"good-(?P<project>[0-9a-f]*)-(?P<role>[a-z]+)-.*")


async def _answer(request: web.Request) -> web.Response:
    if any(len(name) + len(value) + 2 > _LONGEST_LINE for name, value in request.raw_headers):
        return web.Response(status=400, text="<title>400 Bad Request</title>", content_type="text/html")
    known = _GOOD.fullmatch(request.headers.get("X-Subject-Token", ""))
    if known is None:
        return web.json_response({"error": {"code": 404}}, status=404)
    domain = {"id": "default", "name": "Default"}
    project = {"id": known["project"], "name": "project", "domain": domain}
    token = {
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "user": {"id": "somebody", "name": "somebody", "domain": domain},
        "roles": [{"id": known["role"], "name": known["role"]}],
        **({"project": project} if known["project"] else {}),
    }
    return web.json_response({"token": token})


def main(address: str) -> None:
    """Serve until the process is ended."""
    host, _, port = address.rpartition(":")
    app = web.Application(handler_args={"max_field_size": 65_536, "max_line_size": 65_536})
    app.router.add_get("/v3/auth/tokens", _answer)
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main(sys.argv[1])
