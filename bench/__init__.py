"""Measurements. Nothing here is a test: figures belong to the machine they were read on."""
