"""What each of OKX v5's public channels sends next: pure steps over what a venue shows.

A `Channel` remembers what its subscriber was sent, and gives the messages that bring it up to
date. Times between messages count on the world's clock, and are at least as long as OKX's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from relayer.local.book import Levels, Side, changes, checksum, levels, rows_of
from relayer.local.faults import VenueMode
from relayer.local.okx_rows import (
    STABLECOIN_ID,
    Row,
    best_rows,
    candle_rows,
    funding_row,
    interest_row,
    liquidation_row,
    mark_row,
    stablecoin_ticker,
    ticker_row,
    trade_rows,
)
from relayer.local.synthetic import MAX_LEVELS, TRADE_MS, last_liquidation
from relayer.local.tape import Bar
from relayer.local.venue import Venue, View

TIMEFRAMES_MS: Final = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1H": 3_600_000,
    "2H": 7_200_000,
    "4H": 14_400_000,
    "6Hutc": 21_600_000,
    "12Hutc": 43_200_000,
    "1Dutc": 86_400_000,
}
SKIPPED_UPDATE: Final = 3  # of which a venue that skips loses each
MOST_TRADES: Final = 100  # in one message
_BOOK_LEVELS: Final = {"books": MAX_LEVELS, "books5": 5, "bbo-tbt": 1}

Message = dict[str, object]
Argument = Mapping[str, str]


class Channel(Protocol):
    """One subscription."""

    def step(self) -> list[Message]:
        """Give the messages that are due now."""
        ...


def open_channel(venue: Venue, argument: Argument) -> Channel | None:
    """Open what a client subscribes to; None when there is no such channel or instrument."""
    name, inst_id = argument.get("channel", ""), argument.get("instId", "")
    if name == "liquidation-orders":
        known = argument.get("instType") == "SWAP"
        return Liquidations(venue, argument) if known else None
    if name == "tickers" and inst_id == STABLECOIN_ID:
        return Latest(venue, argument, (100, lambda: stablecoin_ticker(venue)))
    if venue.find(inst_id) is None:
        return None
    if name in _BOOK_LEVELS:
        return Books(venue, argument) if name == "books" else _top(venue, argument)
    if name == "trades":
        return Trades(venue, argument)
    if name.startswith("candle") and name.removeprefix("candle") in TIMEFRAMES_MS:
        return Candles(venue, argument)
    return _latest(venue, argument)


def _latest(venue: Venue, argument: Argument) -> Channel | None:
    """Open a channel that sends a market's row whenever it differs."""
    rules: dict[str, tuple[int, Callable[[View], Row]]] = {
        "tickers": (100, lambda view: ticker_row(view, venue)),
        "mark-price": (200, mark_row),
        "open-interest": (3_000, interest_row),
        "funding-rate": (30_000, lambda view: funding_row(view, venue.funding)),
    }
    rule = rules.get(argument["channel"])
    if rule is None:
        return None
    every_ms, write = rule
    return Latest(venue, argument, (every_ms, lambda: [write(v) for v in _views(venue, argument)]))


def _top(venue: Venue, argument: Argument) -> Channel:
    """Open a channel of the best levels alone, sent whole each time."""
    count = _BOOK_LEVELS[argument["channel"]]

    def rows() -> list[Row]:
        return [_whole(view, venue, count) for view in _views(venue, argument)]

    return Latest(venue, argument, (100, rows))


def _whole(view: View, venue: Venue, count: int) -> Row:
    """Write the best levels as one message's data."""
    shown = levels(view, venue.seed, venue.index, count)
    if count == 1:
        bids, asks = ([each] for each in best_rows(shown, view.instrument))
    else:
        bids, asks = (rows_of(view.instrument, side) for side in (shown.bids, shown.asks))
    inst_id = view.instrument.inst_id
    return {"asks": asks, "bids": bids, "instId": inst_id, "ts": str(view.stamp_ms)}


def _views(venue: Venue, argument: Argument) -> list[View]:
    """Give what the venue shows of the channel's market, if it does."""
    listed = venue.find(argument["instId"])
    view = None if listed is None else venue.view(listed)
    return [] if view is None else [view]


class _Paced:
    """A channel that waits between its messages, unless the venue was told something new."""

    def __init__(self, venue: Venue, argument: Argument, every_ms: int) -> None:
        self.venue = venue
        self.argument = argument
        self._every_ms = every_ms
        self._last: tuple[int, int] | None = None

    def is_due(self) -> bool:
        """Tell whether the next message may be sent, and note that it is."""
        now, version = self.venue.clock_ms(), self.venue.faults.version
        if self._last is not None:
            last, told = self._last
            if told == version and now - last < self._every_ms:
                return False
        self._last = now, version
        return True

    def message(self, data: Sequence[object], **more: object) -> Message:
        """Wrap rows as the protocol does."""
        return {"arg": dict(self.argument), **more, "data": list(data)}


class Latest(_Paced):
    """Sends the newest rows whenever they differ from the last ones."""

    def __init__(
        self, venue: Venue, argument: Argument, rule: tuple[int, Callable[[], list[Row]]]
    ) -> None:
        super().__init__(venue, argument, rule[0])
        self._rows = rule[1]
        self._sent: list[Row] = []

    def step(self) -> list[Message]:
        """Give the rows if they are due and new."""
        if not self.is_due():
            return []
        rows = self._rows()
        if not rows or rows == self._sent:
            return []
        self._sent = rows
        return [self.message(rows)]


class Books(_Paced):
    """Sends a snapshot of 400 levels, then what changed, numbered and with OKX's checksum."""

    def __init__(self, venue: Venue, argument: Argument) -> None:
        super().__init__(venue, argument, 100)
        self._sent: Levels | None = None
        self._sequence = venue.clock_ms() % 1_000_000_000
        self._updates = 0

    def step(self) -> list[Message]:
        """Give the snapshot or the update that is due."""
        views = _views(self.venue, self.argument) if self.is_due() else []
        if not views:
            return []
        view = views[0]
        shown = levels(view, self.venue.seed, self.venue.index)
        old, self._sent = self._sent, shown
        if old is None:
            return [self._message(view, shown, "snapshot", -1)]
        update = Levels(bids=changes(old.bids, shown.bids), asks=changes(old.asks, shown.asks))
        if not update.bids and not update.asks:
            return []
        before = self._sequence
        self._sequence += 1 + len(update.bids) + len(update.asks)
        self._updates += 1
        skips = self.venue.is_(VenueMode.SKIPS, view.instrument.tape.symbol)
        if skips and self._updates % SKIPPED_UPDATE == 0:
            return []
        return [self._message(view, update, "update", before)]

    def _message(self, view: View, part: Levels, action: str, before: int) -> Message:
        """Write a snapshot or an update; the checksum is of the book after it."""
        listed, whole = view.instrument, self._sent or part
        tops = [rows_of(listed, _first(side)) for side in (whole.bids, whole.asks)]
        row: Row = {
            "asks": rows_of(listed, part.asks),
            "bids": rows_of(listed, part.bids),
            "ts": str(view.stamp_ms),
            "checksum": checksum(tops[0], tops[1]),
            "prevSeqId": before,
            "seqId": self._sequence,
        }
        return self.message([row], action=action)


class Trades(_Paced):
    """Sends each new trade once, oldest first."""

    def __init__(self, venue: Venue, argument: Argument) -> None:
        super().__init__(venue, argument, 100)
        self._last_id = max((int(str(row["tradeId"])) for row in self._newest(1)), default=0)

    def step(self) -> list[Message]:
        """Give the trades since the last message."""
        if not self.is_due():
            return []
        fresh = self.venue.clock_ms() // TRADE_MS - self._last_id  # numbered by their seconds
        newest = self._newest(min(MOST_TRADES, fresh)) if fresh > 0 else []
        rows = [row for row in newest if int(str(row["tradeId"])) > self._last_id]
        if not rows:
            return []
        rows.reverse()
        self._last_id = int(str(rows[-1]["tradeId"]))
        message = self.message(rows)
        listed = self.venue.find(self.argument["instId"])
        symbol = None if listed is None else listed.tape.symbol
        return [message, message] if self.venue.is_(VenueMode.REPEATS, symbol) else [message]

    def _newest(self, count: int) -> list[Row]:
        """List the newest trades, newest first."""
        views = _views(self.venue, self.argument)
        return [row for view in views for row in trade_rows(view, count)]


class Candles(_Paced):
    """Sends the bar in progress each second, and each bar once more when it is closed."""

    def __init__(self, venue: Venue, argument: Argument) -> None:
        super().__init__(venue, argument, 1_000)
        self._length = TIMEFRAMES_MS[argument["channel"].removeprefix("candle")]
        self._open_ms: int | None = None  # of the last bar that was not closed

    def step(self) -> list[Message]:
        """Give the bars that are new, each in a message of its own."""
        views = _views(self.venue, self.argument) if self.is_due() else []
        return [self.message([row]) for view in views for row in self._rows(view)]

    def _rows(self, view: View) -> list[list[str]]:
        """Write the bars since the last one that was not closed, oldest first."""
        newest = view.at_ms - view.at_ms % self._length
        first = newest if self._open_ms is None else self._open_ms
        found = view.instrument.tape.bars(self._length, first, newest + self._length, view.at_ms)
        bars: list[Bar] = [bar for bar in found if self.venue.has_bar(view.instrument, bar)]
        self._open_ms = newest
        return candle_rows(view, bars)[::-1]


class Liquidations(_Paced):
    """Sends the forced orders of all markets, each once."""

    def __init__(self, venue: Venue, argument: Argument) -> None:
        super().__init__(venue, argument, 1_000)
        self._sent: dict[str, int] = {}

    def step(self) -> list[Message]:
        """Give the forced orders since the last message."""
        views = (self.venue.view(each) for each in self.venue.instruments if self.is_due())
        rows = [row for view in views if view is not None for row in self._rows(view)]
        return [self.message(rows)] if rows else []

    def _rows(self, view: View) -> list[Row]:
        """Write a market's forced order unless it was sent."""
        symbol = view.instrument.tape.symbol
        forced = last_liquidation(view.instrument.tape, view.at_ms, view.bias)
        if forced is None or self._sent.get(symbol) == forced.at_ms:
            return []
        self._sent[symbol] = forced.at_ms
        return [liquidation_row(view, forced)]


def _first(side: Side) -> Side:
    """Give a side's best levels, as many as the checksum covers."""
    return dict(list(side.items())[:25])
