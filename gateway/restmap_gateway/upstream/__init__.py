"""Connections to the gRPC server: addresses, health, balancing and multiplexing."""
