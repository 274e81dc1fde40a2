"""Checks of an installation: what an operator would look at first, one finding a line."""
