"""``backup-sharing doctor``: the checks of the server, and the command."""
