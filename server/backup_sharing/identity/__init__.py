"""Authentication of callers. Only this package sends requests to identity services."""
