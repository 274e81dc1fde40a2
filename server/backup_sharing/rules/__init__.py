"""The rules of sharing: which changes are allowed, and what they change. No engine, no JSON, no protobuf."""
