"""The pages that show the description of an API: for people at `/` and `/docs`, and for tools."""
