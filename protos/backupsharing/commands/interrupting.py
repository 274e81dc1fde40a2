"""Ctrl-C in commands that call the service: it always ends the command.

Commands use the client for asyncio, and run in `asyncio.run`, whose handler of SIGINT cancels the command at its next
``await``. With blocking calls, SIGINT would raise KeyboardInterrupt between any two bytecodes. Inside gRPC this can
leave a lock locked, or a call without an owner, and closing the channel then waits forever.
"""

from __future__ import annotations

import asyncio
import functools
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from backupsharing.commands.options import Command

_INTERRUPTED = 130
"""Exit code of a program that ends by Ctrl-C."""


def interruptible(command: Command) -> Command:
    """End with the exit code of a shell after Ctrl-C, without a message."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            click.get_current_context().exit(_INTERRUPTED)

    return run


def echo(text: object, *, err: bool = False) -> None:
    """Write a line, as `click.echo` does. Ctrl-C ends also a write that waits for the reader of a full pipe.

    Raises:
        asyncio.CancelledError: Ctrl-C came before; nothing is written.
        KeyboardInterrupt: Ctrl-C came during the write.
    """
    with _raising():
        click.echo(text, err=err)


def wait_for_reader() -> None:
    """Wait until standard output accepts a line: a pipe may be full. Ctrl-C ends the wait.

    A line that is then written by `click.echo` is written whole, or not at all after Ctrl-C.

    Raises:
        asyncio.CancelledError, KeyboardInterrupt: as for `echo`.
    """
    with _raising():
        try:
            select.select((), (sys.stdout.fileno(),), ())
        except (AttributeError, OSError, ValueError):
            return  # no file, or one for which there is no waiting


@contextmanager
def _raising() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, for code that holds no lock of gRPC or asyncio."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # SIGINT does not reach this thread, or is ignored
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        yield
    finally:
        signal.signal(signal.SIGINT, before)
