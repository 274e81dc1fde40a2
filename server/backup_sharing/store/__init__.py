"""Where backups and sharings are kept. Database drivers are imported only in here."""
