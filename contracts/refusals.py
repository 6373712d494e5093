"""The guards of the contracts: their numbers, names and meanings, and how to read one from a call.

`Refused(uint256 code)` is the only error that the contracts raise on purpose. Codes 50 to 79 also
stand in events, as market << 16 | code, for items of a batch that were skipped while the rest
landed. A test holds this table and contracts/refusals.vy together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from contracts.margin_meanings import MARGIN_MEANINGS
from contracts.oracle_meanings import ORACLE_MEANINGS
from contracts.refusal_numbers import Refusal
from contracts.units import MarketId

__all__ = ["MEANINGS", "REFUSED_SELECTOR", "Refusal", "Skip", "decode_refusal", "unpack_skip"]

REFUSED_SELECTOR: Final = bytes.fromhex("590a5151")
"""First four bytes of keccak256("Refused(uint256)")."""
_REFUSED_BYTES: Final = 36

MEANINGS: Final[Mapping[Refusal, str]] = MappingProxyType({**ORACLE_MEANINGS, **MARGIN_MEANINGS})
"""What each means, in one sentence: what is wrong, what to do."""

_CODES: Final = frozenset(int(refusal) for refusal in Refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """An item of a batch that the contract leaves aside, and why."""

    market: MarketId
    refusal: Refusal

    @property
    def packed(self) -> int:
        """As it stands in the event: market << 16 | code."""
        return self.market << 16 | self.refusal


def unpack_skip(packed: int) -> Skip:
    """Read one entry of an event's `skipped`; ValueError for a code that has no name."""
    return Skip(market=MarketId(packed >> 16), refusal=Refusal(packed & 0xFFFF))


def decode_refusal(revert_data: bytes) -> Refusal | None:
    """Read a call's revert data; None when it is not a numbered refusal."""
    if len(revert_data) != _REFUSED_BYTES or revert_data[:4] != REFUSED_SELECTOR:
        return None
    code = int.from_bytes(revert_data[4:], "big")
    return Refusal(code) if code in _CODES else None
