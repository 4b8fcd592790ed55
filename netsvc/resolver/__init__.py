"""Asking the DNS: names, one query and its answer, what is remembered, and the resolver everybody shares (floor 4).

``names`` and ``packets`` are about octets alone; ``exchange`` is one question to
one server; ``cache`` is what is remembered; ``resolver`` puts them together and
keeps ``IResolver``.
"""
