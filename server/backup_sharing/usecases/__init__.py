"""The calls of the API: check the values, check the permission, and build one command for the store."""
