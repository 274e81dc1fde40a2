"""Watches: events as they happen, from a stream that is opened again from the last cursor when it breaks."""
