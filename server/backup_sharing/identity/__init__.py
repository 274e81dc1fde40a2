"""Who is calling. Identity services are asked only from in here."""
