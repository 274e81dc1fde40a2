"""gRPC's own services: their newer protos, and a server that has only the health service."""
