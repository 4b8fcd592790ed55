"""The operator's door: language, verbs, rendering, and the shells on it (floor 5)."""
