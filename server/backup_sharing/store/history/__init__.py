"""The history of all changes: statements for every engine."""
