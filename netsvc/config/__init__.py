"""TOML -> frozen configuration (floor 2): every complaint names file, key and remedy."""
