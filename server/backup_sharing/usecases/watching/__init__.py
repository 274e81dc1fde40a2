"""Watching events as they happen."""
