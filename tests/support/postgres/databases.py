"""Databases of a server, made and dropped."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Identifier


def new_database(server_url: str) -> str:
    """Make an empty database; answers its url, which is that of the server but for the name."""
    name = f"test_{uuid4().hex}"
    # As tests expect it, whatever the locale of a server that was not started by them.
    statement = SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.format(Identifier(name)))
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def drop_database(url: str) -> None:
    """Drop a database that ``new_database`` made, together with the sessions that are in it."""
    parts = urlsplit(url)
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(parts.path.lstrip("/"))))
