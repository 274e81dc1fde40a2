"""``backup-sharing-gateway``: the gateway with the descriptor set of this service, a name and a prefix."""

from __future__ import annotations

from importlib import metadata, resources

from restmap_gateway.__main__ import main as run
from restmap_gateway.program import Program


def descriptor_set() -> bytes:
    """The descriptor set of this service."""
    return resources.files("backupsharing").joinpath("image.binpb").read_bytes()


PROGRAM = Program(
    name="backup-sharing-gateway",
    environment_prefix="BACKUP_SHARING_",
    descriptor_set=descriptor_set,
    api_version=lambda: metadata.version("backup-sharing"),
)
"""The gateway as this service brings it."""


def main() -> None:
    """Run it with the settings of the command line."""
    run(PROGRAM)


if __name__ == "__main__":
    main()
