"""What each venue counts for now: its weight in the marks, and why it lacks some. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.units import PPM, MarketId
from relayer.market.aggregate import Mark, NoMark, median
from relayer.market.values import QuoteRound


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueHealth:
    """One venue over all markets of one tick."""

    venue: str
    quoted: int  # markets it gave a quote of
    used: int  # of those, whose mark stands by its vote
    excluded: int  # of those, too far from the median
    refused: Mapping[str, int]  # quotes that were none, by reason
    faults: tuple[str, ...]  # reasons for which it could not be asked
    weight_ppm: int  # mean share in the marks' votes, over the markets that it quoted
    age_ms: int | None  # median age of its quotes by its own stamps
    deviation_ppm: int | None  # median signed distance of its votes from the marks

    @property
    def used_ppm(self) -> int:
        """Give the share of the markets it was heard of whose marks stand by its vote."""
        heard = self.quoted + sum(self.refused.values())
        return self.used * PPM // heard if heard else 0

    @property
    def healthy(self) -> bool:
        """Tell whether the venue answered and no vote of it was left out."""
        return not self.faults and not self.refused and self.quoted == self.used > 0


def venue_health(
    taken: QuoteRound, marks: Mapping[MarketId, Mark | NoMark], now_ms: int
) -> tuple[VenueHealth, ...]:
    """Give every venue that was heard of in a tick, by name."""
    names = {each.venue for each in taken.quotes}
    names |= {each.venue for each in taken.refused} | {each.venue for each in taken.faults}
    return tuple(_health(venue, taken, marks, now_ms) for venue in sorted(names))


def _health(
    venue: str, taken: QuoteRound, marks: Mapping[MarketId, Mark | NoMark], now_ms: int
) -> VenueHealth:
    """Sum up one venue."""
    quotes = [quote for quote in taken.quotes if quote.venue == venue]
    voted = [(quote, marks.get(quote.market)) for quote in quotes]
    made = [(quote, mark) for quote, mark in voted if isinstance(mark, Mark)]
    used = [(quote, mark) for quote, mark in made if venue in mark.venues]
    shares = [PPM // len(mark.venues) for _, mark in used]
    # Votes in another currency than the mark's are not compared: the distance would be the rate's.
    apart = [
        (quote.value_e18 - mark.price_e18) * PPM // mark.price_e18
        for quote, mark in made
        if quote.quote_currency == "USDC"
    ]
    return VenueHealth(
        venue=venue,
        quoted=len(quotes),
        used=len(used),
        excluded=sum(venue in mark.excluded for _, mark in made),
        refused=Counter(each.reason.value for each in taken.refused if each.venue == venue),
        faults=tuple(each.reason for each in taken.faults if each.venue == venue),
        weight_ppm=sum(shares) // len(quotes) if quotes else 0,
        age_ms=median([now_ms - quote.observed_at_ms for quote in quotes]) if quotes else None,
        deviation_ppm=median(apart) if apart else None,
    )
