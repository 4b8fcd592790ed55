"""The SMTP wire, silent: bytes in, events out, for the server and the client side (floor 1)."""
