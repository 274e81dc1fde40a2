"""Each call of the API: checks its values, asks for permission, and makes one command for the store."""
