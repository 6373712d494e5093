"""A signer's own view of the venues: one that repeats itself is not believed there either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest_asyncio
from eth_abi.abi import encode

from agent.signers import EmbeddedViews, ViewSources
from contracts.messages import PriceRound
from contracts.packing import pack_price_words
from contracts.price_feed import encode_rules, encode_slot
from contracts.units import MarketId, UnixMs
from relayer.chain import views
from relayer.chain.endpoints import Call, ChainEndpoint
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import DeployedMarket, Deployment
from relayer.market.aggregate import AggregationRules
from relayer.market.feeds import FeedRules
from relayer.market.settings import VenueSettings
from relayer.market.values import Listing, Market
from relayer.market.venue_client import VenueClient
from relayer.market.venues import VenuePool
from relayer.signing.memory import SignedRounds
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import Proposal, Refusal, RefusalReason, SignerAnswer
from relayer.storage import Database
from tests.fakes import FakeClock
from tests.relayer import builders as b
from tests.relayer.market.fakes import FakeExchange

BTC, ETH = MarketId(0), MarketId(1)
SYMBOLS = ("BTC/USDC:USDC", "ETH/USDC:USDC")
START = 60_000.0
LATER_S = 15  # longer than a venue may repeat itself
BLOCK_HASH = "0x" + "ab" * 32


class FakeFeed:
    """An endpoint that knows the price feed's views at one block."""

    chain_id = b.CHAIN_ID

    def __init__(self) -> None:
        state = b.feed_state(markets=2)
        config = state.config
        self._answers = {
            views.CONFIG_DIGEST.selector: ("bytes32", config.config_digest),
            views.CONFIG_COUNT.selector: ("uint256", config.config_count),
            views.THRESHOLD.selector: ("uint256", config.threshold),
            views.SIGNERS.selector: ("address[]", config.signers),
            views.LATEST_ROUND.selector: ("uint64", state.latest_round),
            views.MARKET_COUNT.selector: ("uint256", len(state.markets)),
            views.SLOTS.selector: ("uint256[]", [encode_slot(*state.markets)]),
            views.RULES.selector: ("uint256", encode_rules(b.RULES)),
        }

    async def block(self, tag: str | int = "latest") -> BlockStamp:
        stamp = bytes.fromhex(BLOCK_HASH[2:])
        return BlockStamp(number=1, block_hash=stamp, timestamp_s=b.NOW_S, base_fee_wei=0)

    async def batch(self, calls: Sequence[Call]) -> tuple[Any, ...]:
        header = {"number": "0x1", "hash": BLOCK_HASH, "timestamp": hex(b.NOW_S)}
        return (header, *(self._answer(params[0]["data"]) for _, params in calls[1:]))

    def _answer(self, payload: str) -> str:
        kind, value = self._answers[bytes.fromhex(payload[2:10])]
        return "0x" + encode([kind], [value]).hex()


@dataclass
class Exchange(FakeExchange):
    """An exchange that always stamps afresh what it says."""

    prices: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, START))
    now_ms: int = b.NOW_MS

    async def fetch_tickers(self, symbols: Sequence[str]) -> dict[str, Any]:
        return {each: self._ticker(self.prices[each]) for each in symbols}

    def _ticker(self, price: float) -> dict[str, Any]:
        return {"bid": price - 1.0, "ask": price + 1.0, "timestamp": self.now_ms}


@dataclass
class Scene:
    """A signer with venues and a clock of its own."""

    signer: Signer
    exchanges: tuple[Exchange, ...]
    clock: FakeClock
    round: int = 9

    async def propose(self, price: float, *moved: str) -> SignerAnswer | Refusal:
        """Propose both markets at a price; the venues named show it, the others repeat."""
        for each in self.exchanges:
            each.now_ms = self.clock.now
            if each.id in moved:
                each.prices = dict.fromkeys(SYMBOLS, price)
        self.round += 1
        return await self.signer.sign(proposal(self.round, price, self.clock.now))


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with b.database(tmp_path) as made:
        yield made


def scene(database: Database, *venues: str) -> Scene:
    exchanges = {venue: Exchange(id=venue) for venue in venues}
    clock = FakeClock(b.NOW_MS)

    def connect(settings: VenueSettings, markets: Sequence[Market]) -> VenueClient:
        return VenueClient(settings, markets, exchange=exchanges[settings.id])

    asked = [VenueSettings(id=venue, ccxt_class="okx", timeout_s=30.0) for venue in venues]
    sources = ViewSources(
        endpoint=cast("ChainEndpoint", FakeFeed()),
        deployment=deployment(),
        pool=VenuePool(asked, [market(number, venues) for number in (BTC, ETH)], clock, connect),
        clock=clock,
        rules=AggregationRules(),
        feeds=FeedRules(),
    )
    ports = SignerPorts(views=EmbeddedViews(sources), memory=SignedRounds(database))
    signer = Signer("price-1", b.PRICE_KEYS[0], ports, b.signer_rules())
    return Scene(signer=signer, exchanges=tuple(exchanges.values()), clock=clock)


def market(number: MarketId, venues: Sequence[str]) -> Market:
    symbol = SYMBOLS[number]
    listings = tuple(Listing(venue=v, symbol=symbol, quote_currency="USDC") for v in venues)
    return Market(market=number, symbol=symbol[:3], class_id=1, listings=listings)


def deployment() -> Deployment:
    return Deployment(
        chain_id=b.CHAIN_ID,
        price_feed=b.PRICE_FEED,
        risk_oracle=b.RISK_ORACLE,
        block_number=1,
        markets=tuple(
            DeployedMarket(market=m, symbol=SYMBOLS[m][:3], class_id=1) for m in (BTC, ETH)
        ),
    )


def proposal(round_: int, price: float, now_ms: int) -> Proposal:
    at_ms = UnixMs(now_ms)
    quotes = [b.quote(m, int(price) * 10**18, age_ms=b.NOW_MS - now_ms) for m in (BTC, ETH)]
    message = PriceRound(
        round=round_,
        observed_at_ms=at_ms,
        valid_until_ms=UnixMs(now_ms + 30_000),
        evidence_hash=b"\xee" * 32,
        words=pack_price_words(quotes, at_ms),
    )
    return b.price_proposal(message)


async def test_own_venues__both_say_something_new__signs(database: Database) -> None:
    seen = scene(database, "a", "b")
    assert isinstance(await seen.propose(START), SignerAnswer)
    seen.clock.now += 1_000 * LATER_S
    assert isinstance(await seen.propose(START * 1.001, "a", "b"), SignerAnswer)


async def test_own_venue_repeats_itself_with_fresh_stamps__market_without_mark_is_named(
    database: Database,
) -> None:
    """The mark of both would lie within the tolerance: only the rule speaks against it."""
    seen = scene(database, "a", "b")
    assert isinstance(await seen.propose(START), SignerAnswer)
    seen.clock.now += 1_000 * LATER_S
    seen.exchanges[1].prices[SYMBOLS[ETH]] = START * 1.001  # of this market it says something new
    verdict = await seen.propose(START * 1.001, "a")
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (RefusalReason.NO_OWN_MARK, "price of market 0")
    assert verdict.also == ()


async def test_one_of_three_own_venues_repeats_itself__signs_by_the_other_two(
    database: Database,
) -> None:
    seen = scene(database, "a", "b", "c")
    assert isinstance(await seen.propose(START), SignerAnswer)
    seen.clock.now += 1_000 * LATER_S
    assert isinstance(await seen.propose(START * 1.01, "a", "b"), SignerAnswer)


async def test_all_own_venues_repeat_themselves__a_price_that_moved_is_off_the_own_mark(
    database: Database,
) -> None:
    """Where nothing moved nothing is frozen: the old mark itself speaks against the price."""
    seen = scene(database, "a", "b")
    assert isinstance(await seen.propose(START), SignerAnswer)
    seen.clock.now += 1_000 * LATER_S
    verdict = await seen.propose(START * 1.01)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (RefusalReason.OFF_OWN_MARK, "price of market 0")
    assert [each.field for each in verdict.also] == ["price of market 1"]
