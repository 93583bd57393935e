"""Stores: names to bytes. The first write of a name wins."""
