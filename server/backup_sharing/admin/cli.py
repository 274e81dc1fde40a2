"""``backup-sharing`` with all commands imported, for the documentation and for tests."""

from __future__ import annotations

from backupsharing.commands.program import main

__all__ = ["main"]

main.load_all()

if __name__ == "__main__":
    main()
