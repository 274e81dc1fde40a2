"""The gRPC server: sharing of backups between projects. Contains no HTTP."""

import os

# grpc reads this variable on import, so it must be set before any of our modules imports grpc. Otherwise gRPC's C
# library logs each call with an invalid header, in plain text and several times the size of the call; our log is JSON.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
