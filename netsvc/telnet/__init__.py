"""The Telnet wire, silent: codec, option states, line editor keys (floor 1)."""
