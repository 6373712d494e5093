"""Round numbers: each is proposed once, for a signer never signs two messages for one."""

from __future__ import annotations

from collections.abc import Mapping


class RoundNumbers:
    """The next round of each contract: above what it accepted and above what was ever proposed."""

    def __init__(self, proposed: Mapping[str, int]) -> None:
        self._proposed = dict(proposed)

    def take(self, contract: str, accepted: int, count: int = 1) -> int:
        """Take the next `count` numbers and return the first of them."""
        first = max(accepted, self._proposed.get(contract, 0)) + 1
        self._proposed[contract] = first + count - 1
        return first
