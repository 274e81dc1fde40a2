"""Check of an address before a server listens on it."""

from __future__ import annotations

import socket


class CannotListen(Exception):
    """An address cannot be listened on; the message has the address and the reason."""


def check_free(address: str) -> None:
    """Check that a TCP address can be listened on; ``unix:PATH`` is not checked.

    Raises:
        CannotListen: the address is in use, invalid, or does not belong to this machine.
    """
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as trial:
        # Like a server: connections of its predecessor in TIME_WAIT must not block the address.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "there is no such port"
            raise CannotListen(f"{address}: cannot listen there: {why}; choose another port") from error
