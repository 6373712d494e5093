"""The contracts' own sums beside the index's, and whether a difference may hurt somebody; pure.

Section 2.3 of the founding design: what traders are owed, what the pool owns and what tokens there
are must agree. A difference is said aloud; one that hides a debt or shows money that is not there
stops new risk once two endpoints have shown it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.positions.sums import Sums
from contracts.book import Book, MarketBook
from contracts.book_views import market_words
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


def differences(sums: Sums, published: Published) -> tuple[Difference, ...]:
    """Compare what the index makes of the events with what the contracts publish."""
    return (*_sums(sums, published.totals), *_tokens(published.totals), *_markets(sums, published))


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


def _sums(sums: Sums, totals: Mapping[str, int]) -> Iterator[Difference]:
    """What traders are owed hidden, or what others own shown too large, is harm."""
    pots = sum(market.pot for market in sums.markets.values())
    expected = {
        Sum.CREDITED: sums.credited,
        Sum.POOL: sums.pool.assets,
        Sum.INSURANCE: sums.pool.insurance,
        Sum.PENDING: sums.pool.pending,
        Sum.DEBTS: sums.debts,
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


def _markets(sums: Sums, published: Published) -> Iterator[Difference]:
    book = Book(markets=sums.markets)
    if published.market_count != len(book.markets):
        yield _difference(Sum.MARKET, None, (len(book.markets), published.market_count), harm=False)
    for market, words in published.markets.items():
        ours = market_words(book, market)
        for _, expected, found in zip(MARKET_FIELDS, ours, words, strict=True):
            if expected != found:
                yield _difference(Sum.MARKET, market, (expected, found), harm=True)
        yield from _open_interest(book.market(market), market, sums.held)


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


def _difference(
    what: Sum, market: MarketId | None, values: tuple[int, int], *, harm: bool
) -> Difference:
    expected, found = values
    return Difference(what=what, market=market, expected=expected, found=found, harmful=harm)
