"""Find the venue that repeats itself with fresh stamps while the others move. Pure.

The rule and why it cannot be turned against an honest venue: docs/market-data.md. What was seen
last is a value that the caller keeps: `withhold_frozen(memory, round)` gives the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from contracts.units import PPM, MarketId
from relayer.market.values import (
    MarketDataError,
    Quote,
    QuoteRefusal,
    QuoteRound,
    RefusedQuote,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRules:
    """When a venue that says the same again is no longer believed."""

    frozen_after_ms: int = 10_000  # by the venue's own stamps
    frozen_move_ppm: int = 300  # that most others moved by since it last said something new

    def __post_init__(self) -> None:
        """Refuse rules under which every quiet venue would be frozen."""
        if self.frozen_after_ms <= 0 or self.frozen_move_ppm <= 0:
            raise MarketDataError("frozen_after_ms and frozen_move_ppm must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a venue last said that was new, and what the others said then, by venue."""

    content: tuple[int, int, int | None]
    since_ms: int
    others: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedMemory:
    """What each venue last said that was new, by venue and market."""

    seen: Mapping[tuple[str, MarketId], Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedWatch:
    """The rules, and what one of who asks venues remembers under them."""

    rules: FeedRules = FeedRules()
    memory: FeedMemory = FeedMemory()

    def believed(self, taken: QuoteRound) -> tuple[QuoteRound, FeedWatch]:
        """Move the quotes of frozen feeds to the refused ones; give the watch of the next look."""
        shown, memory = withhold_frozen(self.memory, taken, self.rules)
        return shown, replace(self, memory=memory)


def withhold_frozen(
    memory: FeedMemory, taken: QuoteRound, rules: FeedRules
) -> tuple[QuoteRound, FeedMemory]:
    """Move the quotes of frozen feeds to the refused ones, and remember what is new."""
    by_market: dict[MarketId, dict[str, int]] = {}
    for quote in taken.quotes:
        by_market.setdefault(quote.market, {})[quote.venue] = quote.value_e18
    seen = dict(memory.seen)
    believed: list[Quote] = []
    refused: list[RefusedQuote] = []
    for quote in taken.quotes:
        key = quote.venue, quote.market
        others = {v: x for v, x in by_market[quote.market].items() if v != quote.venue}
        known = seen.get(key)
        if known is None or known.content != content_of(quote):
            since_ms = int(quote.observed_at_ms)
            seen[key] = Seen(content=content_of(quote), since_ms=since_ms, others=others)
            believed.append(quote)
        elif is_frozen(known, quote, others, rules):
            refused.append(_refused(quote, known))
        else:
            believed.append(quote)
            seen[key] = replace(known, others={**others, **known.others})
    round_ = replace(taken, quotes=tuple(believed), refused=(*taken.refused, *refused))
    return round_, FeedMemory(seen=seen)


def content_of(quote: Quote) -> tuple[int, int, int | None]:
    """Give what of a quote changes with the market."""
    return quote.bid_e18, quote.ask_e18, quote.mark_e18


def is_frozen(known: Seen, quote: Quote, others: Mapping[str, int], rules: FeedRules) -> bool:
    """Tell whether most others went one way, far, while this venue said the same.

    Most of the others, not their median: of an honest venue's others fewer than half are dishonest
    or exactly half, so that an honest one too must have moved.
    """
    if quote.observed_at_ms - known.since_ms < rules.frozen_after_ms:
        return False
    both = [(known.others[venue], now) for venue, now in others.items() if venue in known.others]
    up = sum((now - then) * PPM > rules.frozen_move_ppm * then for then, now in both)
    down = sum((then - now) * PPM > rules.frozen_move_ppm * then for then, now in both)
    return 2 * max(up, down) > len(both)


def frozen_feeds(refused: Sequence[RefusedQuote]) -> tuple[tuple[str, MarketId], ...]:
    """List the feeds that were withheld, for notices."""
    frozen = (each for each in refused if each.reason is QuoteRefusal.FROZEN)
    return tuple((each.venue, each.market) for each in frozen)


def _refused(quote: Quote, known: Seen) -> RefusedQuote:
    """Say since when a feed repeats itself."""
    repeated_s = (quote.observed_at_ms - known.since_ms) / 1_000
    detail = f"the same for {repeated_s:.0f} s of its own stamps while most others moved"
    return RefusedQuote(
        venue=quote.venue, market=quote.market, reason=QuoteRefusal.FROZEN, detail=detail
    )
