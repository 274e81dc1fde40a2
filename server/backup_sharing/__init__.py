"""The gRPC server: who may share what with whom. Knows no HTTP."""

import os

# Read when grpc is imported, so it is set before any module of ours does that. gRPC's C library otherwise writes a line
# of plain text, several times the size of the call, for each one with a header that it does not like; ours are JSON.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
