"""The generated stubs of the protos, the descriptor set of all protos (``image.binpb``), and a Python client."""
