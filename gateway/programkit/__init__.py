"""What a program needs whatever it serves: settings, logs, signals, certificates."""
