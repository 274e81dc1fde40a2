"""The gRPC server: who may share what with whom. Knows no HTTP."""
