"""Making attempts: routing, retry, scheduling, agents, reports (floor 3)."""
