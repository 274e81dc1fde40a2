"""Plain sentences for connections that fail, from gRPC's descriptions of them."""

from __future__ import annotations

from collections.abc import Sequence

_SENTENCES: Sequence[tuple[Sequence[str], str]] = (
    (
        ("http1.x server", "missing selected ALPN property"),
        "{target} answers with HTTP/1.1: this is the REST port or another web server, not the server's gRPC port.",
    ),
    (("Failed parsing HTTP/2",), "{target} does not answer with gRPC: this is not the server's gRPC port."),
    (("Connection refused", "No such file or directory"), "Nothing listens at {target}: the connection was refused."),
    (("DNS resolution failed",), "The name of {target} cannot be resolved to an address."),
    (("WRONG_VERSION_NUMBER",), "{target} does not use TLS, or it is not the server's gRPC port; leave out ca (--ca)."),
    (
        ("Hostname Verification Check failed", "is not in peer certificate"),
        "The certificate of {target} is for another name.",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "The certificate of {target} is not signed by the CA in ca (--ca), or it has expired.",
    ),
    (
        ("last error: UNAVAILABLE", "Socket closed"),
        "{target} closed the connection without an answer; if the server uses TLS, ca (--ca) is missing.",
    ),
)
"""Sentences by the texts in gRPC's description of a failure; the first whose text is there counts.

A text that a newer gRPC words in another way is shown as it is.
"""

_CONNECTING = ("failed to connect to all addresses", "connections to all backends failing", "DNS resolution failed")


def explained(description: str, target: str) -> str:
    """Return a sentence for a connection that failed, or the description if there is no sentence for it.

    Args:
        description: gRPC's description of a call with the status UNAVAILABLE.
        target: the target of the client; empty if it is not known.
    """
    if any(text in description for text in _CONNECTING):
        for texts, sentence in _SENTENCES:
            if any(text in description for text in texts):
                shown = sentence.format(target=target or "the server")
                return shown[0].upper() + shown[1:] if not target else shown
    return description
