"""What the streams send, step by step, without a socket."""

from __future__ import annotations

import itertools

import numpy as np

from relayer.local.channels import open_channel
from relayer.local.faults import VenueMode
from tests.relayer.local.venues import INST_ID, Hands

MARKET = {"instId": INST_ID}


def test_tickers__nothing_moved__sent_once() -> None:
    hands = Hands()
    channel = open_channel(hands.venue, {"channel": "tickers", **MARKET})
    assert [len(channel.step()), len(channel.step())] == [1, 0]
    hands.now_ms += 100
    assert len(channel.step()) == 1


def test_tickers__told_to_lie__sent_at_once() -> None:
    hands = Hands()
    channel = open_channel(hands.venue, {"channel": "tickers", **MARKET})
    channel.step()
    hands.tell(VenueMode.OFF, factor=10.0)
    assert len(channel.step()) == 1


def test_tickers__market_delisted__silent() -> None:
    hands = Hands()
    channel = open_channel(hands.venue, {"channel": "tickers", **MARKET})
    channel.step()
    hands.tell(VenueMode.DELISTED)
    hands.now_ms += 1_000
    assert channel.step() == []
    assert open_channel(hands.venue, {"channel": "tickers", **MARKET}) is None


def test_trades__told_to_repeat__twice_the_same() -> None:
    hands = Hands()
    channel = open_channel(hands.venue, {"channel": "trades", **MARKET})
    hands.tell(VenueMode.REPEATS)
    hands.now_ms += 3_000
    first, second = channel.step()
    assert first == second
    assert len(first["data"]) == 3


def test_liquidations__minute_of_half_a_percent__one_order_against_the_move() -> None:
    hands = Hands()
    bar = hands.tape.closed_before(hands.now_ms)
    hands.tape.close[bar] = hands.tape.open[bar] * 0.99
    hands.tape.low[bar] = hands.tape.open[bar] * 0.985
    channel = open_channel(hands.venue, {"channel": "liquidation-orders", "instType": "SWAP"})
    assert channel.step() == []
    hands.now_ms += 60_000
    [message] = channel.step()
    [details] = message["data"][0]["details"]
    assert details["side"] == "sell"
    assert np.isclose(float(details["bkPx"]), hands.tape.low[bar], rtol=1e-3)
    hands.now_ms += 1_000
    assert channel.step() == []


def test_candles__new_minute__the_old_one_closed_comes_first() -> None:
    hands = Hands()
    channel = open_channel(hands.venue, {"channel": "candle1m", **MARKET})
    [opening] = channel.step()
    hands.now_ms += 61_000
    closed, current = (message["data"][0] for message in channel.step())
    assert opening["data"][0][0] == closed[0]
    assert (closed[8], current[8]) == ("1", "0")


def test_books__every_third_update_lost__sequence_shows_it() -> None:
    hands = Hands()
    hands.tell(VenueMode.SKIPS)
    channel = open_channel(hands.venue, {"channel": "books", **MARKET})
    sent = []
    for _ in range(8):
        sent += [message["data"][0] for message in channel.step()]
        hands.now_ms += 1_000
    breaks = [b["prevSeqId"] != a["seqId"] for a, b in itertools.pairwise(sent)]
    assert breaks == [False, False, True, False, True]
