"""Storage of backups and sharings: one batched store on any engine. Only this package imports database drivers."""
