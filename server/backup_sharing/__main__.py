"""``backup-sharing-server``: run the server until a signal arrives."""

from __future__ import annotations

from programkit.process.hangups import hold_hangups


def main() -> None:
    """Run the server with the settings of the command line.

    Exits with 2 if the server cannot start, and with `exit_status.DISK_FAILED` if only a new process can continue.
    """
    hold_hangups()  # before the imports, which take a second: without a handler SIGHUP ends the process
    from backup_sharing.running import run_server

    run_server()


if __name__ == "__main__":
    main()
