"""Creation and removal of test databases."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier


def new_database(server_url: str) -> str:
    """Create an empty database; return its URL, which differs from the server's URL in the name only."""
    name = f"test_{uuid4().hex}"
    # Tests expect this encoding and locale, also on an external server.
    statement = SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.format(Identifier(name)))
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def drop_database(url: str) -> None:
    """Drop a database of ``new_database`` and end its sessions."""
    parts = urlsplit(url)
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(parts.path.lstrip("/"))))
