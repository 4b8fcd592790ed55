"""Filters that speak the milter protocol."""
