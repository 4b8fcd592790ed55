"""Keeping promises: queue, mailboxes, bodies, counters, audit, on SQLite and PostgreSQL (floor 3)."""
