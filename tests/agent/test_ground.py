"""What a process says while it starts: an operator must not wait before a silent terminal."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.ground import open_venues
from agent.network import NO_KEYS, Network
from contracts.units import MarketId
from relayer.clock import WallClock
from relayer.market.settings import VenueSettings
from relayer.market.values import Listing, Market
from relayer.metrics import Metrics, Vocabulary

pytestmark = pytest.mark.loopback
VENUE = VenueSettings(
    id="away", ccxt_class="okx", urls={"rest": "http://127.0.0.1:9"}, timeout_s=1.0
)
BTC = Listing(venue="away", symbol="BTC/USDT:USDT", quote_currency="USDT")


async def test_open_venues__one_that_is_down__is_said(tmp_path: Path) -> None:
    network = Network(
        name="mine",
        rpc_url="http://127.0.0.1:9",
        chain_id=None,
        venues=(VENUE,),
        markets=(Market(market=MarketId(0), symbol="BTC", class_id=1, listings=(BTC,)),),
        classes=(1,),
        keys=NO_KEYS,
        clock=WallClock(),
        state=tmp_path,
        history=tmp_path / "history",
    )
    vocabulary = Vocabulary(
        hold_reasons=(), refusal_reasons=(), signers=(), venues=("away",), markets=("BTC",)
    )
    said: list[str] = []
    async with AsyncExitStack() as stack:
        await open_venues(network, Metrics(CollectorRegistry(), vocabulary), stack, said.append)
    assert said[0] == "connecting to away"
    assert said[1].startswith("away is left out until it answers: unreachable")
