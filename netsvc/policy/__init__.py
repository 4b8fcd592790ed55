"""May this mail come in: the rules asked at each stage (floor 3)."""
