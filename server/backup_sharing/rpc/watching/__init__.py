"""Server-streaming calls: their life, their limits, and the watch of events."""
