"""The rows of OKX v5's answers: numbers as strings, names as the venue documents them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from relayer.local.book import Levels, levels, rows_of
from relayer.local.instruments import LOT, Instrument
from relayer.local.seeds import smooth
from relayer.local.synthetic import (
    BASIS_POINT,
    MAX_LEVELS,
    SyntheticTrade,
    open_interest,
    recent_trades,
)
from relayer.local.tape import Bar
from relayer.local.venue import Funding, Venue, View

FUNDING_MS: Final = 8 * 3_600_000
DEFAULT_FUNDING: Final = (
    0.0001  # OKX's interest part, where no funding file lies beside the candles
)
STABLECOIN_ID: Final = "USDC-USDT"
STABLECOIN_WIGGLE_BP: Final = 2.0
_DAY_BARS: Final = 1_440

Row = dict[str, object]


def instrument_row(listed: Instrument, *, live: bool) -> Row:
    """Describe a perpetual."""
    tape = listed.tape
    return {
        "instType": "SWAP",
        "instId": listed.inst_id,
        "uly": f"{listed.base}-{tape.quote}",
        "instFamily": f"{listed.base}-{tape.quote}",
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": tape.quote,
        "ctVal": f"{listed.contract_size:f}",
        "ctMult": "1",
        "ctValCcy": listed.base,
        "ctType": "linear",
        "tickSz": f"{listed.tick:f}",
        "lotSz": f"{LOT:f}",
        "minSz": f"{LOT:f}",
        "lever": "50",
        "listTime": str(tape.starts_ms),
        "expTime": "",
        "state": "live" if live else "suspend",
        "ruleType": "normal",
    }


def stablecoin_instrument(venue: Venue) -> list[Row]:
    """Describe spot USDC/USDT, which is listed where anything is quoted in USDT."""
    if not _quotes_usdt(venue):
        return []
    return [
        {
            "instType": "SPOT",
            "instId": STABLECOIN_ID,
            "baseCcy": "USDC",
            "quoteCcy": "USDT",
            "tickSz": "0.0001",
            "lotSz": "0.000001",
            "minSz": "1",
            "lever": "10",
            "listTime": "1609459200000",
            "state": "live",
        }
    ]


def stablecoin_ticker(venue: Venue) -> list[Row]:
    """Quote USDC/USDT: synthetic, within 2 bp of 1."""
    if not _quotes_usdt(venue):
        return []
    now = venue.now_ms()
    drift = STABLECOIN_WIGGLE_BP * BASIS_POINT
    mid = 1 + drift * smooth(now, 60_000, venue.seed, "usdt", venue.index)
    return [
        {
            "instType": "SPOT",
            "instId": STABLECOIN_ID,
            "last": f"{mid:.6f}",
            "bidPx": f"{mid - 5e-5:.6f}",
            "askPx": f"{mid + 5e-5:.6f}",
            "bidSz": "1000000",
            "askSz": "1000000",
            "ts": str(now),
        }
    ]


def ticker_row(view: View, venue: Venue) -> Row:
    """Quote a perpetual, with the last day's figures."""
    listed, top, tape = view.instrument, view.top, view.instrument.tape
    closed = tape.closed_before(view.at_ms)
    day = slice(max(0, closed - _DAY_BARS), closed)
    has_day = day.start < day.stop
    volume = float(np.sum(tape.volume[day]))
    bid, ask = best_rows(levels(view, venue.seed, venue.index, count=1), listed)
    return {
        "instType": "SWAP",
        "instId": listed.inst_id,
        "last": listed.price(top.last),
        "lastSz": f"{LOT:f}",
        "bidPx": bid[0],
        "bidSz": bid[1],
        "askPx": ask[0],
        "askSz": ask[1],
        "open24h": listed.price(float(tape.open[day.start]) * view.bias),
        "high24h": listed.price(float(np.max(tape.high[day])) * view.bias if has_day else top.last),
        "low24h": listed.price(float(np.min(tape.low[day])) * view.bias if has_day else top.last),
        "vol24h": listed.volume(volume),
        "volCcy24h": f"{volume:.8f}",
        "ts": str(view.stamp_ms),
    }


def mark_row(view: View) -> Row:
    """Give a perpetual's mark price."""
    return {
        "instType": "SWAP",
        "instId": view.instrument.inst_id,
        "markPx": view.instrument.price(view.top.mark),
        "ts": str(view.stamp_ms),
    }


def book_row(view: View, depth: int, venue: Venue) -> Row:
    """Give the order book, best price first on both sides."""
    shown = levels(view, venue.seed, venue.index, max(1, min(depth, MAX_LEVELS)))
    return {
        "bids": rows_of(view.instrument, shown.bids),
        "asks": rows_of(view.instrument, shown.asks),
        "ts": str(view.stamp_ms),
    }


def best_rows(shown: Levels, listed: Instrument) -> tuple[list[str], list[str]]:
    """Write the best level of each side."""
    return rows_of(listed, shown.bids)[0], rows_of(listed, shown.asks)[0]


def candle_rows(view: View, bars: Sequence[Bar]) -> list[list[str]]:
    """Write bars, newest first, as [ts, o, h, l, c, contracts, base, quote, confirm]."""
    listed, bias = view.instrument, view.bias
    rows = []
    for bar in reversed(bars):
        prices = [listed.price(each * bias) for each in (bar.open, bar.high, bar.low, bar.close)]
        turnover = bar.volume * bar.close * bias
        sizes = [listed.volume(bar.volume), f"{bar.volume:.8f}", f"{turnover:.4f}"]
        rows.append([str(bar.open_ms), *prices, *sizes, "1" if bar.closed else "0"])
    return rows


def trade_rows(view: View, limit: int) -> list[Row]:
    """Write the newest synthetic trades, newest first."""
    listed = view.instrument
    late = view.stamp_ms - view.spot.observed_ms if view.spot.live else 0
    return [
        trade_row(listed, trade, late)
        for trade in recent_trades(listed.tape, view.at_ms, view.bias, limit)
    ]


def trade_row(listed: Instrument, trade: SyntheticTrade, late_ms: int) -> Row:
    """Write one trade; a venue that lies about its time writes it so much later."""
    return {
        "instId": listed.inst_id,
        "tradeId": str(trade.at_ms // 1_000),
        "px": listed.price(trade.price),
        "sz": listed.contracts(trade.base_units),
        "side": "buy" if trade.buy else "sell",
        "ts": str(trade.at_ms + late_ms),
    }


def liquidation_row(view: View, liquidation: SyntheticTrade) -> Row:
    """Write one forced order as OKX's liquidation channel does."""
    listed = view.instrument
    side = "buy" if liquidation.buy else "sell"
    details = {
        "side": side,
        "posSide": "short" if liquidation.buy else "long",
        "bkPx": listed.price(liquidation.price),
        "sz": listed.contracts(liquidation.base_units),
        "bkLoss": "0",
        "ccy": "",
        "ts": str(liquidation.at_ms),
    }
    family = listed.inst_id.removesuffix("-SWAP")
    return {
        "instType": "SWAP",
        "instId": listed.inst_id,
        "instFamily": family,
        "uly": family,
        "details": [details],
    }


def interest_row(view: View) -> Row:
    """Give the synthetic open interest."""
    base = open_interest(view.instrument.tape, view.at_ms)
    return {
        "instType": "SWAP",
        "instId": view.instrument.inst_id,
        "oi": view.instrument.volume(base),
        "oiCcy": f"{base:.8f}",
        "oiUsd": f"{base * view.top.mark:.2f}",
        "ts": str(view.stamp_ms),
    }


def funding_row(view: View, funding: Funding) -> Row:
    """Give the funding rate now: the last recorded one, as the next is not known yet."""
    _, rates = _known_funding(view, funding)
    due = view.at_ms - view.at_ms % FUNDING_MS + FUNDING_MS
    return {
        "instType": "SWAP",
        "instId": view.instrument.inst_id,
        "fundingRate": f"{rates[-1] if len(rates) else DEFAULT_FUNDING:.10f}",
        "fundingTime": str(due),
        "nextFundingRate": "",
        "nextFundingTime": str(due + FUNDING_MS),
        "method": "current_period",
        "ts": str(view.at_ms),
    }


def funding_history_rows(view: View, funding: Funding, before: int, after: int) -> list[Row]:
    """List the settled rates between two times, newest first."""
    times, rates = _known_funding(view, funding)
    return [
        {
            "instType": "SWAP",
            "instId": view.instrument.inst_id,
            "fundingRate": f"{rate:.10f}",
            "realizedRate": f"{rate:.10f}",
            "fundingTime": str(at_ms),
        }
        for at_ms, rate in reversed(list(zip(times.tolist(), rates.tolist(), strict=True)))
        if before < at_ms < after
    ]


def tier_rows(listed: Instrument) -> list[Row]:
    """List three synthetic leverage tiers."""
    tiers = ((1, 0, 10_000, "0.01", "50"), (2, 10_000, 50_000, "0.02", "25"))
    last = (3, 50_000, 500_000, "0.05", "10")
    return [
        {
            "instFamily": listed.inst_id.removesuffix("-SWAP"),
            "instId": listed.inst_id,
            "tier": str(tier),
            "minSz": str(low),
            "maxSz": str(high),
            "mmr": rate,
            "imr": f"{1 / float(lever):.4f}",
            "maxLever": lever,
        }
        for tier, low, high, rate, lever in (*tiers, last)
    ]


def _quotes_usdt(venue: Venue) -> bool:
    """Tell whether a venue quotes anything in USDT."""
    return any(each.tape.quote == "USDT" for each in venue.instruments)


def _known_funding(view: View, funding: Funding) -> tuple[np.ndarray, np.ndarray]:
    """Give the rates that are settled by now."""
    nothing = np.empty(0, dtype=np.int64), np.empty(0)
    times, rates = funding.get(view.instrument.tape.symbol, nothing)
    settled = int(np.searchsorted(times, view.at_ms, side="right"))
    return times[:settled], rates[:settled]
