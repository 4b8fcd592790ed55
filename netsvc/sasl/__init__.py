"""SASL, silent: exchanges as challenge and response values (floor 1)."""
