"""Who are you: hashes, checkers, realm, throttle (floor 3)."""
