"""Trades and liquidations as they happen: in base units, each once, in order, a bounded number."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from contracts.units import MarketId, UnixMs
from relayer.errors import BadAnswer
from relayer.market.events import Repair
from relayer.market.parsing import reading
from relayer.market.values import E18, Listing, price_e18

KEPT_TRADES: Final = 2_000  # a market
KEPT_LIQUIDATIONS: Final = 1_000

Side = Literal["buy", "sell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One trade of a perpetual; `side` is the taker's."""

    venue: str
    market: MarketId
    id: str | None
    side: Side
    price_e18: int
    size_e18: int  # base units
    traded_at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidation:
    """One forced close; `side` is that of the order that closed the position."""

    venue: str
    market: MarketId
    side: Side
    price_e18: int
    size_e18: int  # base units
    liquidated_at_ms: UnixMs

    @property
    def traded_at_ms(self) -> UnixMs:
        """When it was traded, as of any trade."""
        return self.liquidated_at_ms


@reading("a trade")
def parse_trade(
    listing: Listing, market: MarketId, raw: Mapping[str, Any], contract_size: float
) -> Trade:
    """Make a trade of ccxt's; raises BadAnswer when price, size, side or time are none."""
    price, size, side, at_ms = _facts(raw, raw["amount"])
    return Trade(
        venue=listing.venue,
        market=market,
        id=None if raw.get("id") is None else str(raw["id"]),
        side=side,
        price_e18=price_e18(price) // listing.multiplier,
        size_e18=in_base_units(size, listing, contract_size),
        traded_at_ms=UnixMs(at_ms),
    )


@reading("a liquidation")
def parse_liquidation(
    listing: Listing,
    market: MarketId,
    raw: Mapping[str, Any],
    contract_size: float,
    *,
    names_position: bool = False,
) -> Liquidation:
    """Make a liquidation of ccxt's; raises BadAnswer when it lacks a fact.

    Some venues name the side of the position instead of that of the order (`names_position`).
    """
    price, size, side, at_ms = _facts(raw, raw["contracts"])
    if names_position:
        side = "sell" if side == "buy" else "buy"
    return Liquidation(
        venue=listing.venue,
        market=market,
        side=side,
        price_e18=price_e18(price) // listing.multiplier,
        size_e18=in_base_units(size, listing, contract_size),
        liquidated_at_ms=UnixMs(at_ms),
    )


def in_base_units(size: float, listing: Listing, contract_size: float) -> int:
    """Turn a size in contracts into base units × 10^18, rounded down."""
    return price_e18(size) * price_e18(contract_size) * listing.multiplier // E18


def _facts(raw: Mapping[str, Any], size: Any) -> tuple[float, float, Side, int]:  # noqa: ANN401
    """Take price, size, side and time, all of them or none."""
    price, side, at_ms = raw["price"], raw["side"], raw["timestamp"]
    for number in (price, size):
        if not isinstance(number, int | float) or not math.isfinite(number) or number <= 0:
            raise BadAnswer(f"price {price}, size {size}: not above 0")
    if side not in ("buy", "sell") or not isinstance(at_ms, int):
        raise BadAnswer(f"side {side}, time {at_ms}: not known")
    return float(price), float(size), "buy" if side == "buy" else "sell", at_ms


class TradeTape:
    """One market's last trades: a repeated one is dropped, a late one put where it belongs.

    A trade is known by its id, or, where the venue gives none, by all that it says: two of the
    same price, size, side and millisecond count as one then.
    """

    def __init__(self, kept: int = KEPT_TRADES) -> None:
        self._kept = kept
        self._trades: deque[Trade] = deque()
        self._seen: dict[object, None] = {}  # in order of arrival, so that the oldest goes first

    def __len__(self) -> int:
        return len(self._trades)

    @property
    def trades(self) -> tuple[Trade, ...]:
        """List the trades, oldest first."""
        return tuple(self._trades)

    def add(self, trade: Trade) -> Repair | None:
        """Add one; says what had to be repaired."""
        key = trade if trade.id is None else trade.id
        if key in self._seen:
            return Repair.TRADE_REPEATED
        self._seen[key] = None
        if len(self._seen) > 2 * self._kept:  # ids are remembered longer than trades
            del self._seen[next(iter(self._seen))]
        late: list[Trade] = []
        while self._trades and self._trades[-1].traded_at_ms > trade.traded_at_ms:
            late.append(self._trades.pop())
        self._trades.append(trade)
        self._trades.extend(reversed(late))
        while len(self._trades) > self._kept:
            self._trades.popleft()
        return Repair.TRADE_OUT_OF_ORDER if late else None

    def add_all(self, trades: Iterable[Trade]) -> list[Repair]:
        """Add several; says what had to be repaired."""
        return [repair for trade in trades if (repair := self.add(trade)) is not None]
