"""Where backups and sharings are kept: one batched store on any engine. Database drivers are imported only in here."""
