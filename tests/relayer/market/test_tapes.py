"""Trades, liquidations, funding, open interest and tiers: in our units, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.units import UnixMs
from relayer.errors import BadAnswer
from relayer.market.derivatives import (
    parse_funding,
    parse_open_interest,
    parse_tiers,
    period_ms,
)
from relayer.market.events import Repair
from relayer.market.parsing import bar_repairs
from relayer.market.tapes import Trade, TradeTape, parse_liquidation, parse_trade
from relayer.market.values import E18, HOUR_MS, Listing
from tests.relayer.market.builders import MARKET, NOW_MS

LISTING = Listing(venue="a", symbol="1000PEPE/USDT:USDT", quote_currency="USDT", multiplier=1_000)
NAN = float("nan")


def _raw(**changes: Any) -> dict[str, Any]:
    return {
        "id": "1", "price": 0.012, "amount": 2.0, "side": "buy", "timestamp": NOW_MS, **changes,
    }  # fmt: skip


def _trade(number: int, at_ms: int) -> Trade:
    return Trade(
        venue="a", market=MARKET, id=str(number), side="buy", price_e18=1, size_e18=1,
        traded_at_ms=UnixMs(at_ms),
    )  # fmt: skip


def test_parse_trade__contracts_of_thousands__base_units() -> None:
    trade = parse_trade(LISTING, MARKET, _raw(), contract_size=10.0)
    assert trade.size_e18 == 20_000 * E18
    assert trade.price_e18 == 12 * E18 // 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"price": NAN}, {"price": None}, {"price": -1.0}, {"amount": 0}, {"amount": float("inf")},
        {"side": None}, {"timestamp": None}, {"amount": "many"},
    ],
)  # fmt: skip
def test_parse_trade__lacks_a_fact__refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        parse_trade(LISTING, MARKET, _raw(**changes), 1.0)


def test_parse_liquidation__venue_names_the_position__the_orders_side() -> None:
    raw = _raw(contracts=2.0)
    assert parse_liquidation(LISTING, MARKET, raw, 1.0).side == "buy"
    assert parse_liquidation(LISTING, MARKET, raw, 1.0, names_position=True).side == "sell"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1_000)), max_size=80))
def test_tape__any_order_any_repetition__each_once_and_ascending(
    arrivals: list[tuple[int, int]],
) -> None:
    tape = TradeTape()
    times = dict(reversed(arrivals))
    for number, _ in arrivals:
        tape.add(_trade(number, times[number]))
    stamps = [trade.traded_at_ms for trade in tape.trades]
    assert stamps == sorted(stamps)
    assert sorted(trade.id or "" for trade in tape.trades) == sorted(map(str, times))


def test_tape__repeated_and_late__named() -> None:
    tape = TradeTape()
    assert tape.add(_trade(1, 10)) is None
    assert tape.add(_trade(1, 10)) is Repair.TRADE_REPEATED
    assert tape.add(_trade(2, 5)) is Repair.TRADE_OUT_OF_ORDER
    assert tape.add_all([_trade(2, 5), _trade(3, 20)]) == [Repair.TRADE_REPEATED]


def test_tape__full__the_oldest_go() -> None:
    tape = TradeTape(kept=3)
    tape.add_all(_trade(number, number) for number in range(10))
    assert [trade.id for trade in tape.trades] == ["7", "8", "9"]


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [("8h", 8 * HOUR_MS), ("1h", HOUR_MS), ("30m", HOUR_MS // 2), ("0h", None), (None, None),
     ("h", None), ("8x", None), ("", None)],
)  # fmt: skip
def test_period_ms__text__length_or_none(text: object, length_ms: int | None) -> None:
    assert period_ms(text) == length_ms


def test_parse_funding__eight_hours__comparable_by_the_hour() -> None:
    funding = parse_funding(LISTING, MARKET, {"fundingRate": 0.0008, "interval": "8h"})
    assert funding.hourly_e18 == E18 // 10_000
    assert funding.observed_at_ms is None


@pytest.mark.parametrize("rate", [None, NAN, 0.3, -0.3, "low"])
def test_parse_funding__no_rate__refused(rate: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_funding(LISTING, MARKET, {"fundingRate": rate, "interval": "8h"})


def test_parse_open_interest__contracts__base_units() -> None:
    raw = {"openInterestAmount": 5.0, "openInterestValue": 60.0, "timestamp": NOW_MS}
    interest = parse_open_interest(LISTING, MARKET, raw, 10.0)
    assert (interest.size_e18, interest.value) == (50_000 * E18, 60.0)


@pytest.mark.parametrize("amount", [None, NAN, -1.0])
def test_parse_open_interest__no_amount__refused(amount: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_open_interest(LISTING, MARKET, {"openInterestAmount": amount}, 1.0)


def _tier(largest: float | None, maintenance: float, leverage: float) -> dict[str, Any]:
    return {"maxNotional": largest, "maintenanceMarginRate": maintenance, "maxLeverage": leverage}


def test_parse_tiers__any_order__smallest_first_and_the_last_unbounded() -> None:
    tiers = parse_tiers([_tier(None, 0.02, 25), _tier(100.0, 0.005, 100)])
    assert [tier.maintenance_ppm for tier in tiers] == [5_000, 20_000]
    assert tiers[-1].largest_notional == float("inf")


@pytest.mark.parametrize(
    "second", [_tier(200.0, 0.001, 50), _tier(200.0, 0.01, 125), _tier(200.0, 0.0, 1)]
)
def test_parse_tiers__looser_with_size__refused(second: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        parse_tiers([_tier(100.0, 0.005, 100), second])


@pytest.mark.parametrize(
    ("times", "repairs"),
    [
        ([1, 2, 3], ()),
        ([3, 2, 1], ()),
        ([1, 3, 2], (Repair.BARS_OUT_OF_ORDER,)),
        ([1, 2, 2], (Repair.BARS_REPEATED,)),
        ([2, 1, 2], (Repair.BARS_REPEATED, Repair.BARS_OUT_OF_ORDER)),
    ],
)
def test_bar_repairs__times__what_was_put_right(
    times: list[int], repairs: tuple[Repair, ...]
) -> None:
    assert bar_repairs([[at, 1.0] for at in times]) == repairs
