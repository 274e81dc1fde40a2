"""The file of static tokens: its form, changes to it, the last use of each token, and a watch of it."""
