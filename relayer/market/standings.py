"""Which listings are set aside, since they mean another unit or asset than the other venues'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from contracts.units import MarketId
from relayer.market.derivatives import OpenInterest
from relayer.market.normalise import ScaleFinding, check_prices, check_sizes, middle_prices
from relayer.market.values import Market, Quote, RefusedQuote, VenueFault

Key = tuple[str, MarketId]  # a venue's listing of a market


class Standings:
    """What the comparison of the venues found, judged anew while it has found anything."""

    def __init__(self, markets: Mapping[MarketId, Market]) -> None:
        self._markets = markets
        self._apart: dict[Key, ScaleFinding] = {}
        self._unsized: dict[Key, ScaleFinding] = {}

    def is_apart(self, venue: str, market: MarketId) -> bool:
        """Tell whether a listing's prices are not believed."""
        return (venue, market) in self._apart

    def size_fault(self, venue: str, market: MarketId) -> str | None:
        """Say why a listing's sizes are not believed, or None."""
        found = self._unsized.get((venue, market))
        return None if found is None else found.detail

    def judge(self, quotes: Sequence[Quote]) -> None:
        """Set aside the listings that stand a power of ten, or far, from the others.

        One that gives no quote now keeps its standing: silence mends nothing.
        """
        quoted = {(quote.venue, quote.market) for quote in quotes}
        kept = {key: each for key, each in self._apart.items() if key not in quoted}
        self._apart = kept | _by_listing(check_prices(quotes, self._markets))

    def judge_sizes(self, sizes: Iterable[OpenInterest], quotes: Sequence[Quote]) -> None:
        """Find contract sizes that are a power of ten off, at the prices of these quotes."""
        self._unsized = _by_listing(check_sizes(sizes, middle_prices(quotes), self._markets))

    def believed(self, quotes: Sequence[Quote]) -> tuple[Quote, ...]:
        """Give the quotes that count; what was mended at its venue counts again."""
        if self._apart:
            self.judge(quotes)
        return tuple(each for each in quotes if not self.is_apart(each.venue, each.market))

    def refusals(self) -> tuple[RefusedQuote, ...]:
        """Say why the listings that are set aside give no quote."""
        return tuple(
            RefusedQuote(
                venue=each.venue, market=each.market, reason=each.reason, detail=each.detail
            )
            for each in self._apart.values()
        )

    def faults(self) -> tuple[VenueFault, ...]:
        """Say what an operator has to mend."""
        return tuple(
            VenueFault(venue=each.venue, reason="misconfigured", detail=each.detail)
            for each in (*self._apart.values(), *self._unsized.values())
        )


def _by_listing(findings: Iterable[ScaleFinding]) -> dict[Key, ScaleFinding]:
    return {(each.venue, each.market): each for each in findings}
