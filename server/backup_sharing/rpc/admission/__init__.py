"""Admission of calls: limits, deadlines and turns."""
