"""What a store tells about its own work."""
