"""The parts of requests and responses beside their messages: headers ↔ metadata, and system parameters."""
