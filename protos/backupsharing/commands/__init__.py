"""Commands for people who share backups. They know a server only as `backupsharing.client` does."""
