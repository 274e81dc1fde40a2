"""Addresses to listen on, looked at before anything is started there."""

from __future__ import annotations

import socket


class CannotListen(Exception):
    """Nothing can listen at an address; the message names it and says why."""


def check_free(address: str) -> None:
    """Return if a TCP address can be listened on; a ``unix:PATH`` is not looked at.

    Raises:
        CannotListen: it is in use, is not ours, or is none.
    """
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as trial:
        # As a server would, that is not kept off by connections of the one before it.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "there is no such port"
            raise CannotListen(f"{address}: cannot listen there: {why}; choose another port") from error
