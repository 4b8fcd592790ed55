"""What part of a destination's limits a node has, without any talk between nodes (quiet; STORE.md 5.2).

Nodes know who lives.  The owners of a destination are those that score highest
for it (rendezvous hashing), as many as its limits can be divided among; each has
an equal part, the first ones one more.  A destination that takes one connection
lives on one node.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def owners(key: str, nodes: Sequence[int], most: int) -> list[int]:
    """Return up to ``most`` of ``nodes``, best first, that share destination ``key``: the same on every node."""

    def score(node: int) -> bytes:
        return blake2b(f"{node} {key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()

    return sorted(nodes, key=score)[: max(most, 1)]


def part(limit: int, rank: int, count: int) -> int:
    """Return what the owner of ``rank`` (from 0) among ``count`` has of ``limit``."""
    return limit // count + (rank < limit % count)
