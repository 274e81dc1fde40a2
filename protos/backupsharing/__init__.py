"""Stubs generated from the protos beside them, and ``image.binpb``, the same as one descriptor set."""
