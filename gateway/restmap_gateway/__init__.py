"""REST gateway for any gRPC service annotated with ``google.api.http``; the code names no service or method."""
