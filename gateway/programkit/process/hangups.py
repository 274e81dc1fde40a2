"""SIGHUP must never end a program; this module is imported before all others, so it imports nothing slow."""

from __future__ import annotations

import signal


def hold_hangups() -> None:
    """Keep SIGHUP pending, so that it does not end this process; call this first, before any thread starts.

    `programkit.process.lifetime.Lifetime` takes the signal in a thread: of any number of signals, one is pending.
    With a handler, each would go through the event loop's signal socket, and a storm would fill the socket, so that
    a SIGTERM could be lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # an ignored signal, as after nohup, is never pending
