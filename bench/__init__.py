"""Measurements. Nothing here is a test: figures belong to the machine they were read on.

``python -m bench`` runs all sections and writes ``RESULTS.md`` and the plots; ``--only NAME`` runs one of them and
prints its tables. Load comes from a process of its own on one core; everything under test shares another one.
"""
