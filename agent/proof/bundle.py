"""An observation as evidence, and back: what a cycle saw, in canonical values.

Closed history enters by the hashes of immutable chunks (a day of hours, an hour of minutes), which
are stored once; a bundle itself holds only the open tail. A chunk is its rows as little-endian
float64: open time, open, high, low, close, volume.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agent.errors import EvidenceError
from agent.proof.chunks import COLUMNS, ROW, Chunks, Cut
from agent.snapshot import Feed, Limits, MarketHistory, Observation
from agent.triggers import Posted
from contracts.halts import decode_controls, encode_controls
from contracts.messages import Domain
from contracts.risk_bounds import decode_bounds, encode_bounds
from contracts.risk_oracle import MarketState, decode_slot, encode_slot
from contracts.units import MarketId, UnixMs
from models.features import BookDepth
from relayer.market.aggregate import AggregationRules
from relayer.market.book_measures import BookMeasures
from relayer.market.books import Slippage
from relayer.market.values import CandleSeries, Quote, QuoteRound, StablecoinQuote

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

Fields = dict[str, Any]
GetBlob = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The fields of a bundle, and the chunks that they name by hash."""

    fields: Fields
    chunks: Mapping[bytes, bytes | memoryview]


def encode_observation(observation: Observation, known: Chunks | None = None) -> Encoded:
    """Write an observation as fields; the same observation gives the same bytes anywhere.

    `known`: the chunks that were cut before, which need no hashing again.
    """
    cutter = known or Chunks()
    chunks: dict[bytes, bytes | memoryview] = {}
    fields: Fields = {
        "as_of_ms": observation.as_of_ms,
        "chain": _encode_limits(observation.limits),
        "aggregation_rules": asdict(observation.rules),
        **encode_quotes(observation.quotes),
        "markets": [history.market for history in observation.histories],
        "unconfirmed": list(observation.unconfirmed),
    }
    for history in observation.histories:
        hours = cutter.cut(history.hours, DAY_MS, observation.as_of_ms)
        minutes = cutter.cut(history.minutes, HOUR_MS, observation.as_of_ms)
        fields[f"market/{history.market}"] = _encode_history(history, hours, minutes)
        for each in (*hours.chunks.values(), *minutes.chunks.values()):
            chunks[each.digest] = each.rows
    return Encoded(fields=fields, chunks=chunks)


def decode_observation(fields: Mapping[str, Any], get_blob: GetBlob) -> Observation:
    """Read an observation back, fetching each chunk by its hash.

    Raises
    ------
    EvidenceError
        Where a field is absent or is not what `encode_observation` writes.
    """
    try:
        return _decode(fields, get_blob)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise EvidenceError(f"the bundle holds no readable observation: {fault!r}") from fault


def _decode(fields: Mapping[str, Any], get_blob: GetBlob) -> Observation:
    histories = [
        _decode_history(MarketId(market), fields[f"market/{market}"], get_blob)
        for market in fields["markets"]
    ]
    return Observation(
        as_of_ms=UnixMs(fields["as_of_ms"]),
        limits=_decode_limits(fields["chain"]),
        quotes=decode_quotes(fields),
        rules=AggregationRules(**fields["aggregation_rules"]),
        histories=tuple(histories),
        unconfirmed=tuple(MarketId(market) for market in fields.get("unconfirmed", ())),
    )


def encode_quotes(quotes: QuoteRound) -> Fields:
    """Write what the venues answered; refusals and faults are the journal's."""
    return {
        "quotes": [_quote_row(quote) for quote in quotes.quotes],
        "stablecoins": [_stablecoin_row(quote) for quote in quotes.stablecoins],
        "quotes_taken_at_ms": quotes.taken_at_ms,
    }


def decode_quotes(fields: Mapping[str, Any]) -> QuoteRound:
    """Read back what the venues answered."""
    return QuoteRound(
        quotes=tuple(_quote(row) for row in fields["quotes"]),
        stablecoins=tuple(_stablecoin(row) for row in fields["stablecoins"]),
        refused=(),
        faults=(),
        taken_at_ms=UnixMs(fields["quotes_taken_at_ms"]),
    )


def _quote_row(quote: Quote) -> list[Any]:
    """One quote as a row, in the order of `_quote`."""
    prices = (str(quote.bid_e18), str(quote.ask_e18), _text(quote.mark_e18))
    stamps = (quote.observed_at_ms, quote.received_at_ms)
    return [quote.venue, quote.market, quote.quote_currency, *prices, *stamps]


def _quote(row: list[Any]) -> Quote:
    venue, market, currency, bid, ask, mark, observed, received = row
    return Quote(
        venue=venue,
        market=MarketId(market),
        quote_currency=currency,
        bid_e18=int(bid),
        ask_e18=int(ask),
        mark_e18=None if mark is None else int(mark),
        observed_at_ms=UnixMs(observed),
        received_at_ms=UnixMs(received),
    )


def _stablecoin_row(quote: StablecoinQuote) -> list[Any]:
    return [quote.venue, quote.currency, str(quote.value_e18), quote.observed_at_ms]


def _stablecoin(row: list[Any]) -> StablecoinQuote:
    venue, currency, value, observed = row
    return StablecoinQuote(
        venue=venue, currency=currency, value_e18=int(value), observed_at_ms=UnixMs(observed)
    )


def _text(value: int | None) -> str | None:
    """Write an integer beyond 2^53 as text: other readers of JSON would round it."""
    return None if value is None else str(value)


def _encode_limits(limits: Limits) -> Fields:
    """Words as the contracts return them, in hexadecimal, so that an explorer shows the same."""
    return {
        "domain": _encode_domain(limits.domain),
        "block_number": limits.block_number,
        "timestamp_s": limits.timestamp_s,
        "round": limits.round,
        "controls": hex(encode_controls(limits.controls)),
        "epoch_ended_s": list(limits.controls.epoch_ended_s),
        "bounds": {str(key): hex(encode_bounds(each)) for key, each in limits.bounds.items()},
        "slots": [hex(encode_slot(state)) for state in limits.states],
        "feed": _encode_domain(limits.feed.domain),
        "feed_round": limits.feed.round,
        "posted": [_encode_posted(posted) for posted in limits.feed.posted],
    }


def encode_feed(feed: Feed) -> list[list[Any] | None]:
    """Write what the feed had of each market when a tick began."""
    return [_encode_posted(posted) for posted in feed.posted]


def decode_feed(value: list[list[Any] | None]) -> tuple[Posted | None, ...]:
    """Read it back, in the order of the market ids."""
    return tuple(_decode_posted(posted) for posted in value)


def _encode_domain(domain: Domain) -> list[str]:
    return [str(domain.chain_id), domain.contract, domain.config_digest.hex()]


def _decode_domain(value: list[str]) -> Domain:
    chain_id, contract, digest = value
    return Domain(chain_id=int(chain_id), contract=contract, config_digest=bytes.fromhex(digest))


def _encode_posted(posted: Posted | None) -> list[Any] | None:
    if posted is None:
        return None
    return [str(posted.price_e18), posted.observed_at_ms, posted.unconfirmed]


def _decode_limits(value: Fields) -> Limits:
    return Limits(
        domain=_decode_domain(value["domain"]),
        block_number=value["block_number"],
        timestamp_s=value["timestamp_s"],
        round=value["round"],
        controls=decode_controls(int(value["controls"], 16), value["epoch_ended_s"]),
        bounds={int(key): decode_bounds(int(each, 16)) for key, each in value["bounds"].items()},
        states=tuple(_decode_state(word) for word in value["slots"]),
        feed=Feed(
            domain=_decode_domain(value["feed"]),
            round=value["feed_round"],
            posted=tuple(_decode_posted(posted) for posted in value["posted"]),
        ),
    )


def _decode_state(word: str) -> MarketState:
    state = decode_slot(int(word, 16))
    if state is None:
        raise ValueError(f"slot {word} holds no market")
    return state


def _decode_posted(value: list[Any] | None) -> Posted | None:
    if value is None:
        return None
    price, observed_at_ms, unconfirmed = value
    return Posted(price_e18=int(price), observed_at_ms=observed_at_ms, unconfirmed=unconfirmed)  # type: ignore[arg-type]


def _encode_history(history: MarketHistory, hours: Cut, minutes: Cut) -> Fields:
    depth = history.depth
    return {
        "symbol": history.symbol,
        "depth": None if depth is None else [list(depth.bid_usdc), list(depth.ask_usdc)],
        "book": None if history.book is None else asdict(history.book),
        "hours": _encode_cut(hours),
        "minutes": _encode_cut(minutes),
    }


def _encode_cut(cut: Cut) -> Fields:
    names = [chunk.digest.hex() for chunk in cut.chunks.values()]
    tail = base64.b64encode(cut.tail).decode()
    return {"bar_ms": cut.series.bar_ms, "chunks": names, "tail": tail}


def _decode_history(market: MarketId, value: Fields, get_blob: GetBlob) -> MarketHistory:
    depth = value["depth"]
    return MarketHistory(
        market=market,
        symbol=value["symbol"],
        hours=_decode_series(market, value["hours"], get_blob),
        minutes=_decode_series(market, value["minutes"], get_blob),
        depth=None
        if depth is None
        else BookDepth(bid_usdc=tuple(depth[0]), ask_usdc=tuple(depth[1])),
        book=_decode_measures(value.get("book")),
    )


def _decode_measures(value: Fields | None) -> BookMeasures | None:
    if value is None:
        return None
    ladder = tuple(Slippage(**rung) for rung in value["slippage"])
    return BookMeasures(**{**value, "slippage": ladder})


def _decode_series(market: MarketId, value: Fields, get_blob: GetBlob) -> CandleSeries:
    parts = [get_blob(bytes.fromhex(name)) for name in value["chunks"]]
    parts.append(base64.b64decode(value["tail"], validate=True))
    rows = np.frombuffer(b"".join(parts), dtype=ROW).reshape(-1, len(COLUMNS))
    columns = {name: rows[:, index].copy() for index, name in enumerate(COLUMNS)}
    open_ms = columns.pop("open_ms").astype(np.int64)
    return CandleSeries(market=market, bar_ms=value["bar_ms"], open_ms=open_ms, **columns)
