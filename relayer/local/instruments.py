"""How a local exchange lists a market: OKX's instrument fields, derived from its first price."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final

from relayer.local.tape import Tape

LOT: Final = Decimal("0.01")  # contracts
_TICK_DIGITS: Final = 5  # a tick is 10^-5 to 10^-6 of the price
_CONTRACT_USD_DIGITS: Final = 3  # a contract is worth about 100 to 1,000 USD
_MAJOR: Final = frozenset({"BTC", "ETH"})
_LARGE: Final = frozenset(
    {"ADA", "AVAX", "BCH", "BNB", "DOGE", "DOT", "ETC", "LINK", "LTC"}
    | {"SOL", "SUI", "TON", "TRX", "UNI", "XLM", "XMR", "XRP"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One listed perpetual."""

    tape: Tape
    inst_id: str
    base: str  # as the venue calls it
    tick: Decimal
    contract_size: Decimal  # base units in one contract

    def renamed(self, base: str) -> Instrument:
        """List the same market under another name."""
        inst_id = f"{base}-{self.tape.quote}-SWAP"
        return replace(self, base=base, inst_id=inst_id)

    def price(self, value: float, rounding: str = ROUND_HALF_EVEN) -> str:
        """Write a price on the tick grid."""
        ticks = (Decimal(value) / self.tick).to_integral_value(rounding=rounding)
        return f"{max(ticks, Decimal(1)) * self.tick:f}"

    def ticks(self, count: int) -> str:
        """Write so many ticks, which are a power of ten each."""
        exponent = int(self.tick.as_tuple().exponent)
        if exponent >= 0:
            return str(count * int(self.tick))
        digits = str(count).zfill(1 - exponent)
        return f"{digits[:exponent]}.{digits[exponent:]}"

    def below(self, value: float) -> str:
        """Write the nearest price that is not above."""
        return self.price(value, ROUND_FLOOR)

    def above(self, value: float) -> str:
        """Write the nearest price that is not below."""
        return self.price(value, ROUND_CEILING)

    def contracts(self, base_units: float) -> str:
        """Write a size in contracts, at least one lot."""
        lots = (Decimal(base_units) / self.contract_size / LOT).to_integral_value()
        return f"{max(lots, Decimal(1)) * LOT:f}"

    def volume(self, base_units: float) -> str:
        """Write a traded volume in contracts; it may be nothing."""
        lots = (Decimal(base_units) / self.contract_size / LOT).to_integral_value()
        return f"{lots * LOT:f}"


def instrument(tape: Tape) -> Instrument:
    """List a tape as OKX would list the perpetual."""
    magnitude = math.floor(math.log10(float(tape.open[0])))
    size = math.floor(_CONTRACT_USD_DIGITS - math.log10(float(tape.open[0])))
    return Instrument(
        tape=tape,
        base=tape.base,
        inst_id=f"{tape.base}-{tape.quote}-SWAP",
        tick=Decimal(10) ** (magnitude - _TICK_DIGITS),
        contract_size=Decimal(10) ** size,
    )


def class_of(base: str) -> int:
    """Give a base's market class: 1 major, 2 large, 3 the rest (0 is no class on the oracle)."""
    if base in _MAJOR:
        return 1
    return 2 if base in _LARGE else 3
