"""What happens to market data on its way in, by reason, told to whoever counts."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from relayer.market.values import QuoteRefusal


class StreamEvent(StrEnum):
    """What became of a venue's websocket (closed set, a metric's label)."""

    LIVE = "live"  # the first message after a start
    SILENT = "silent"  # nothing for `silent_after_s`, though it counts as open
    CLOSED = "closed"  # closed, reset or refused by the peer
    RATE_LIMITED = "rate_limited"  # 429, or a ban
    BAD_MESSAGE = "bad_message"  # one that cannot be read
    REFUSED = "refused"  # the exchange said no to a subscription
    GAP = "gap"  # messages are missing: the top of the book is crossed
    LAGGING = "lagging"  # one market's stream ended while the others go on
    STORM = "storm"  # a reconnection put off, since there were too many
    FALLBACK = "fallback"  # a tick that had to ask by REST


class Repair(StrEnum):
    """What was wrong with data, repaired or refused by a stated rule (closed set, a label)."""

    BARS_OUT_OF_ORDER = "bars_out_of_order"
    BARS_REPEATED = "bars_repeated"
    BAR_REFUSED = "bar_refused"
    TRADE_REPEATED = "trade_repeated"
    TRADE_OUT_OF_ORDER = "trade_out_of_order"
    TRADE_REFUSED = "trade_refused"
    LIQUIDATION_REFUSED = "liquidation_refused"
    BOOK_REFUSED = "book_refused"


class MarketEvents(Protocol):
    """Whoever counts."""

    def stream(self, venue: str, event: StreamEvent) -> None:
        """Note what became of a websocket."""
        ...

    def repaired(self, venue: str, repair: Repair) -> None:
        """Note that data was repaired or refused."""
        ...

    def refused(self, venue: str, reason: QuoteRefusal) -> None:
        """Note that an answer was no quote."""
        ...


class Uncounted:
    """Counts nothing."""

    def stream(self, venue: str, event: StreamEvent) -> None:
        """Ignore it."""

    def repaired(self, venue: str, repair: Repair) -> None:
        """Ignore it."""

    def refused(self, venue: str, reason: QuoteRefusal) -> None:
        """Ignore it."""
