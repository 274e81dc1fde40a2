"""Parts of any server program: settings, logs, signals, certificates."""
