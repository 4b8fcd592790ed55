"""Certificates and their keys: read, checked, read again when they change (floor 4)."""
