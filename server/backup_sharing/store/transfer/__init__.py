"""Copying a database to another one, of either engine."""
