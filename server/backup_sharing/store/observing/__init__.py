"""Measurements that a store reports about its own work."""
