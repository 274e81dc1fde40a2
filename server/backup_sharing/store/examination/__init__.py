"""The state of a database, for its operator: reachable, migrated, whole, with room to grow."""
