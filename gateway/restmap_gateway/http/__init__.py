"""HTTP: connections, their bounds, requests and responses."""
