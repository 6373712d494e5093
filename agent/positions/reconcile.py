"""The contracts' own sums beside the index's, and whether a difference may hurt somebody; pure.

Section 2.3 of the founding design: what traders are owed, what the pool owns and what tokens there
are must agree. A difference is said aloud; one that hides a debt or shows money that is not there
stops new risk once two endpoints have shown it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from contracts.book import Book, MarketBook
from contracts.book_action import after_cuts
from contracts.book_views import market_words
from contracts.book_words import split_position_id
from contracts.margin import LONG, SHORT
from contracts.units import MarketId
from relayer.chain.index_totals import MARKET_FIELDS, Published


class Sum(StrEnum):
    """What is compared; each is a metric label."""

    CREDITED = "credited"
    POOL = "pool"
    INSURANCE = "insurance"
    PENDING = "pending"
    DEBTS = "debts"
    POTS = "pots"
    VAULT_TOKENS = "vault_tokens"
    POOL_TOKENS = "pool_tokens"
    MARKET = "market"
    OPEN_INTEREST = "open_interest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One sum that does not agree; `harmful`: somebody could be paid what is not there."""

    what: Sum
    market: MarketId | None
    expected: int
    found: int
    harmful: bool

    @property
    def name(self) -> str:
        """Say what differs, as metrics and logs do."""
        return self.what.value if self.market is None else f"{self.what.value} {self.market}"


def differences(book: Book, published: Published) -> tuple[Difference, ...]:
    """Compare what the index makes of the events with what the contracts publish."""
    return (*_sums(book, published.totals), *_tokens(published.totals), *_markets(book, published))


def harmful(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Give the differences in the harmful direction."""
    return tuple(each for each in found if each.harmful)


def confirmed(reads: Sequence[tuple[str, Sequence[Difference]]]) -> tuple[Difference, ...]:
    """Give the harmful differences that two reads from different endpoints both show."""
    by_endpoint: dict[str, set[tuple[Sum, MarketId | None]]] = {}
    for endpoint, found in reads:
        seen = {(each.what, each.market) for each in harmful(found)}
        by_endpoint[endpoint] = by_endpoint.get(endpoint, set()) | seen
    if len(by_endpoint) < 2 or not reads:
        return ()
    agreed = set.intersection(*by_endpoint.values())
    return tuple(e for e in harmful(reads[-1][1]) if (e.what, e.market) in agreed)


def _sums(book: Book, totals: Mapping[str, int]) -> Iterator[Difference]:
    """What traders are owed hidden, or what others own shown too large, is harm."""
    pots = sum(market.pot for market in book.markets.values())
    expected = {
        Sum.CREDITED: book.credited,
        Sum.POOL: book.pool.assets,
        Sum.INSURANCE: book.pool.insurance,
        Sum.PENDING: book.pool.pending,
        Sum.DEBTS: book.debts,
        Sum.POTS: pots,
    }
    hidden = {Sum.CREDITED, Sum.PENDING, Sum.POTS}  # what is owed: too small hides it
    for what, value in expected.items():
        found = totals[what.value]
        if found != value:
            bad = found < value if what in hidden else found > value
            yield _difference(what, None, (value, found), harm=bad)


def _tokens(totals: Mapping[str, int]) -> Iterator[Difference]:
    """More tokens than are owed are a gift; fewer are somebody's."""
    owed = totals["pool"] + totals["insurance"] + totals["pending"]
    for what, least in ((Sum.VAULT_TOKENS, totals["credited"]), (Sum.POOL_TOKENS, owed)):
        if totals[what.value] < least:
            yield _difference(what, None, (least, totals[what.value]), harm=True)


def _markets(book: Book, published: Published) -> Iterator[Difference]:
    held = sizes_held(book)
    if published.market_count != len(book.markets):
        yield _difference(Sum.MARKET, None, (len(book.markets), published.market_count), harm=False)
    for market, words in published.markets.items():
        ours = market_words(book, market)
        for _, expected, found in zip(MARKET_FIELDS, ours, words, strict=True):
            if expected != found:
                yield _difference(Sum.MARKET, market, (expected, found), harm=True)
        yield from _open_interest(book.market(market), market, held)


def _open_interest(
    found: MarketBook, market: MarketId, held: Mapping[tuple[MarketId, int], int]
) -> Iterator[Difference]:
    """Positions sum up to their side, but for what cuts may leave."""
    for side in (LONG, SHORT):
        book = found.side(side)
        size = held.get((market, side), 0)
        # Cuts round a side up and each position down, so that only more is impossible then.
        if size > book.size or (book.number == 0 and size != book.size):
            yield _difference(Sum.OPEN_INTEREST, market, (book.size, size), harm=size > book.size)


def sizes_held(book: Book) -> dict[tuple[MarketId, int], int]:
    """Add up positions after cuts by market and side."""
    sums: dict[tuple[MarketId, int], int] = {}
    for identity, position in book.positions.items():
        _, market, _ = split_position_id(identity)
        after, _ = after_cuts(position, book.market(market).side(position.side))
        sums[market, position.side] = sums.get((market, position.side), 0) + after.size
    return sums


def _difference(
    what: Sum, market: MarketId | None, values: tuple[int, int], *, harm: bool
) -> Difference:
    expected, found = values
    return Difference(what=what, market=market, expected=expected, found=found, harmful=harm)
