"""What attackers send: HTTP/2 by hand, gRPC calls, HTTP/1.1 by hand."""
