"""HTTP: connections, their limits, requests and responses."""
