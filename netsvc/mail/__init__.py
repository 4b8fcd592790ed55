"""The words of mail: frozen values made of the standard library alone (floor 0)."""
