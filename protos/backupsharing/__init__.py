"""Stubs generated from the protos beside them, ``image.binpb``, the same as one descriptor set, and a client."""
