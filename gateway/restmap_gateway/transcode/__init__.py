"""Conversion from a request to a message, and from a message to a response."""
