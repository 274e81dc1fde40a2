"""A REST gateway for any gRPC service annotated with ``google.api.http``. Knows no endpoint."""
