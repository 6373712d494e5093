"""The world that latency is measured in: real judging, signing and storing; no chain, no venue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import coincurve
import numpy as np
from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from prometheus_client import CollectorRegistry

from agent.app import mind_of
from agent.config import Settings, load_settings
from agent.cycle import Mind, risk_cycle
from agent.decisions import HoldReason
from agent.ports import Hands
from agent.posting import Posting
from agent.prices import price_tick
from agent.rounds import RoundNumbers
from agent.snapshot import Feed, Limits, MarketHistory, Observation
from contracts.envelope import Configuration
from contracts.halts import NO_CONTROLS, NO_GUARD
from contracts.messages import Domain, PriceRound, calldata, digest, typed_data
from contracts.packing import PriceQuote, pack_price_words, round_down_amount, split_price
from contracts.price_feed import FeedState, MarketPrice, apply_round
from contracts.risk_bounds import Values
from contracts.risk_oracle import MarketState, OracleState, apply_update
from contracts.units import MarketId, PriceE18, UnixMs, UnixS, WholeUsdc, seconds_floor
from models.artifact import default_artifact, load
from models.features import BookDepth
from relayer import migrations
from relayer.delivery.states import Effective, Outcome
from relayer.evidence import EvidenceStore
from relayer.market.jumps import JumpWatch
from relayer.market.values import E18, CandleSeries, Quote, QuoteRound
from relayer.metrics import Metrics, Vocabulary
from relayer.signing.keys import Key
from relayer.signing.memory import SignedRounds
from relayer.signing.quorum import Quorum
from relayer.signing.signer import Signer, SignerPorts
from relayer.signing.values import (
    NoQuorum,
    OwnMark,
    Proposal,
    RefusalReason,
    SignedMessage,
    SignerRules,
    SignerView,
)
from relayer.storage import Database

START_MS = 1_748_000_000_000 - 1_748_000_000_000 % 86_400_000 + 45_296_000
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
FEED, ORACLE, CHAIN_ID = "0x" + "11" * 20, "0x" + "22" * 20, 6343
VENUES = ("a", "b", "c")
CONFIG_DIGEST = b"\x07" * 32
UNITS = 1_000_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One instant's inputs, made before the time is taken."""

    now_ms: UnixMs
    round: int
    quotes: QuoteRound


class BenchClock:
    """A clock that shows the instant under measurement."""

    def __init__(self) -> None:
        self.shown_ms = UnixMs(START_MS)

    async def now_ms(self) -> UnixMs:
        """Give the instant."""
        return self.shown_ms

    async def sleep_until(self, at_ms: int) -> None:
        """Go there at once."""
        self.shown_ms = UnixMs(at_ms)

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Stand still anyway."""
        return contextlib.nullcontext()

    async def close(self) -> None:
        """Nothing to let go of."""


class BenchWorld:
    """Inputs in memory; notes when they are handed over."""

    def __init__(self, observation: Observation, feed: Feed) -> None:
        self.observation, self.market_feed = observation, feed
        self.quote_round = observation.quotes
        self.in_hand_s = 0.0

    async def feed(self) -> Feed:
        """Give the feed."""
        return self.market_feed

    async def quotes(self) -> QuoteRound:
        """Hand over the quotes: the price path begins."""
        self.in_hand_s = time.perf_counter()
        return self.quote_round

    async def observe(self) -> Observation:
        """Hand over the snapshot: the risk cycle begins."""
        self.in_hand_s = time.perf_counter()
        return self.observation


class BenchQuorums:
    """Both quorums; notes when the signed bytes are ready to be sent."""

    def __init__(self, price: Quorum, risk: Quorum) -> None:
        self._price, self._risk = price, risk
        self.ready_s = 0.0

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Collect the signatures and write the call."""
        quorum = self._price if isinstance(proposal.message, PriceRound) else self._risk
        signed = await quorum.collect(proposal)
        if isinstance(signed, SignedMessage):
            calldata(signed.message, signed.signatures)
            self.ready_s = time.perf_counter()
        return signed


class BenchDelivery:
    """Takes everything: delivery is not what is measured here."""

    async def deliver(self, signed: SignedMessage) -> Outcome:
        """Say that it took effect."""
        return Effective(tx_hash=signed.message_hash, block_number=1, gas_used=0, skipped=())

    async def resume(self) -> tuple[Outcome, ...]:
        """Nothing was left open."""
        return ()


class BenchRecords:
    """Writes nothing: the journal comes after the signatures."""

    async def record_cycle(self, entry: object) -> int:
        """Take it."""
        return 0

    async def record_decision(self, entry: object) -> int:
        """Take it."""
        return 0

    async def settle_decision(self, entry: object) -> None:
        """Take it."""


class BenchViews:
    """What the signers know: the contracts' states and their own marks, in memory."""

    def __init__(self, clock: BenchClock, feed: FeedState, oracle: OracleState) -> None:
        self._clock, self.feed, self.oracle = clock, feed, oracle
        self.marks: Mapping[MarketId, OwnMark] = {}
        self._made: tuple[Proposal, SignerView] | None = None

    async def view(self, proposal: Proposal) -> SignerView:
        """Give the view, made once a proposal as the embedded signers do."""
        if self._made is None or self._made[0] is not proposal:
            self._made = (proposal, self._view(proposal))
        return self._made[1]

    def _view(self, proposal: Proposal) -> SignerView:
        message, now_s = proposal.message, seconds_floor(self._clock.shown_ms)
        price = isinstance(message, PriceRound)
        return SignerView(
            now_ms=self._clock.shown_ms,
            chain_id=CHAIN_ID,
            feed=self.feed,
            oracle=self.oracle,
            marks=self.marks,
            applied=apply_round(self.feed, message, now_s)
            if price
            else apply_update(self.oracle, message, now_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that one measurement needs."""

    count: int
    settings: Settings
    mind: Mind
    hands: Hands
    clock: BenchClock
    world: BenchWorld
    quorums: BenchQuorums
    views: BenchViews
    database: Database

    async def price_path(self, index: int) -> float:
        """Make and sign one price round; milliseconds from quotes in hand to signed bytes."""
        now_ms = START_MS + 1_000 * (index + 10_000)
        self.clock.shown_ms = UnixMs(now_ms)
        self.world.quote_round = quotes_at(self.count, now_ms, index)
        self.views.marks = own_marks(self.world.quote_round)
        fresh = feed_state(self.count, now_ms - 30_000, 10 * index + 10_000, self.settings)
        self.views.feed = fresh
        self.world.market_feed = replace(self.world.market_feed, round=fresh.latest_round)
        result = await price_tick(
            self.hands, self.settings.marks, self.settings.prices, JumpWatch()
        )
        return self._elapsed(result.postings)

    async def risk_cycle(self, index: int) -> float:
        """Judge and sign one update; milliseconds from snapshot in hand to signed bytes."""
        number = 10 * index + 10_000  # an update of many markets may take more than one round
        self.views.oracle = replace(self.views.oracle, latest_round=number)
        limits = replace(self.world.observation.limits, round=number)
        self.clock.shown_ms = self.world.observation.as_of_ms
        self.world.observation = replace(self.world.observation, limits=limits)
        result = await risk_cycle(self.hands, self.mind, JumpWatch())
        if result.judgement.holds:
            raise RuntimeError(
                f"the benchmark's markets must be decidable: {result.judgement.holds[0]}"
            )
        return self._elapsed(result.postings)

    def _elapsed(self, postings: tuple[Posting, ...]) -> float:
        """Give the milliseconds, or fail when nothing was signed."""
        if not postings or any(posting.holds for posting in postings):
            raise RuntimeError(f"nothing was signed: {[p.holds for p in postings]}")
        return (self.quorums.ready_s - self.world.in_hand_s) * 1_000

    async def ours(self, index: int) -> float:
        """Digest and calldata of a round, ours."""
        message, domain, signatures = sample(self.count, index)
        began = time.perf_counter()
        digest(message, domain)
        calldata(message, signatures)
        return (time.perf_counter() - began) * 1_000

    async def library(self, index: int) -> float:
        """Digest and calldata of a round, by eth_account and eth_abi."""
        message, domain, signatures = sample(self.count, index)
        parts = [part for each in signatures for part in (each[:32], each[32:])]
        began = time.perf_counter()
        encode_typed_data(full_message=typed_data(message, domain))
        encode(
            ("uint64", "uint64", "uint64", "bytes32", "uint256[]", "bytes32[]"),
            (1, 1, 1, message.evidence_hash, list(message.words), parts),
        )
        return (time.perf_counter() - began) * 1_000

    async def close(self) -> None:
        """Close the database."""
        await self.database.close()


async def build(count: int, folder: Path) -> Bench:
    """Build a bench of `count` markets."""
    settings = load_settings("local")
    clock = BenchClock()
    observation = observe(count, settings)
    url = f"sqlite:///{folder / 'aml.db'}"
    migrations.upgrade(url)
    database = Database.open(url)
    oracle = oracle_state(observation.limits)
    views = BenchViews(clock, feed_state(count, START_MS - 30_000, 1, settings), oracle)
    quorums = quorums_of(views, database)
    world = BenchWorld(observation, observation.limits.feed)
    hands = Hands(
        clock=clock,
        world=world,
        quorum=quorums,
        delivery=BenchDelivery(),
        evidence=EvidenceStore(folder / "evidence"),
        journal=BenchRecords(),
        rounds=RoundNumbers({}),
    )
    return Bench(
        count=count,
        settings=settings,
        mind=mind_of(load(default_artifact()), settings),
        hands=hands,
        clock=clock,
        world=world,
        quorums=quorums,
        views=views,
        database=database,
    )


def quorums_of(views: BenchViews, database: Database) -> BenchQuorums:
    """Give three signers of each kind, two of which must agree; memory on disk as in service."""
    names = tuple(f"{kind}-{n}" for kind in ("price", "risk") for n in (1, 2, 3))
    vocabulary = Vocabulary(
        hold_reasons=tuple(HoldReason),
        refusal_reasons=tuple(RefusalReason),
        signers=names,
        venues=VENUES,
        markets=(),
    )
    metrics = Metrics(CollectorRegistry(), vocabulary)
    ports = SignerPorts(views=views, memory=SignedRounds(database))
    rules = SignerRules(price_feed=FEED, risk_oracle=ORACLE)
    price, risk = (
        Quorum(
            [
                Signer(n, key, ports, rules)
                for n, key in zip(names[i : i + 3], KEYS[i : i + 3], strict=True)
            ],
            2,
            5.0,
            metrics,
        )
        for i in (0, 3)
    )
    return BenchQuorums(price, risk)


KEYS = tuple(Key(coincurve.PrivateKey(bytes([n + 1]) * 32)) for n in range(6))


def configuration(first: int) -> Configuration:
    """Give a contract's signers."""
    addresses = sorted((key.address for key in KEYS[first : first + 3]), key=lambda a: int(a, 16))
    return Configuration(
        config_digest=CONFIG_DIGEST, config_count=1, threshold=2, signers=tuple(addresses)
    )


def price_of(market: int, index: int) -> int:
    """Give a market's price at an index: it wanders by a few basis points."""
    wobble = (market * 7 + index * 13) % 40
    return (1_000 + 37 * market) * E18 + wobble * (1_000 + 37 * market) * E18 // 10_000


def quotes_at(count: int, now_ms: int, index: int) -> QuoteRound:
    """Give three venues' quotes of every market."""
    quotes = tuple(
        Quote(
            venue=venue,
            market=MarketId(market),
            quote_currency="USDC",
            bid_e18=price_of(market, index) - E18 // 100 + place * UNITS,
            ask_e18=price_of(market, index) + E18 // 100 + place * UNITS,
            mark_e18=price_of(market, index) + place * UNITS,
            observed_at_ms=UnixMs(now_ms - 200 - place),
            received_at_ms=UnixMs(now_ms - 100),
        )
        for place, venue in enumerate(VENUES)
        for market in range(count)
    )
    return QuoteRound(
        quotes=quotes, stablecoins=(), refused=(), faults=(), taken_at_ms=UnixMs(now_ms)
    )


def own_marks(quotes: QuoteRound) -> dict[MarketId, OwnMark]:
    """Give the signers' own marks: the first venue's."""
    return {
        quote.market: OwnMark(
            market=quote.market,
            price_e18=PriceE18(quote.value_e18),
            observed_at_ms=quote.observed_at_ms,
        )
        for quote in quotes.quotes
        if quote.venue == VENUES[0]
    }


def feed_state(count: int, observed_ms: int, number: int, settings: Settings) -> FeedState:
    """Give a feed whose prices are due."""
    markets = []
    for market in range(count):
        mantissa, exponent = split_price(PriceE18(price_of(market, 0)))
        markets.append(
            MarketPrice(
                mantissa=mantissa,
                exponent=exponent,
                average=mantissa,
                confidence=2,
                observed_at_ms=UnixMs(observed_ms),
                class_id=1,
                unconfirmed=False,
            )
        )
    deployment = settings.deployment
    assert deployment is not None
    rules = {1: deployment.classes["1"].rules}
    return FeedState(
        config=configuration(0), latest_round=number, rules=rules, markets=tuple(markets)
    )


def observe(count: int, settings: Settings) -> Observation:
    """Give an observation of `count` decidable markets with a month of hours, a day of minutes."""
    now_ms = UnixMs(START_MS)
    domain = Domain(chain_id=CHAIN_ID, contract=ORACLE, config_digest=CONFIG_DIGEST)
    assert settings.deployment is not None
    limits = Limits(
        domain=domain,
        block_number=1,
        timestamp_s=UnixS(now_ms // 1_000),
        round=1,
        controls=NO_CONTROLS,
        bounds={1: settings.deployment.classes["1"].bounds},
        states=tuple(market_state() for _ in range(count)),
        feed=Feed(
            domain=replace(domain, contract=FEED), round=1, posted=tuple(None for _ in range(count))
        ),
    )
    return Observation(
        as_of_ms=now_ms,
        limits=limits,
        quotes=quotes_at(count, now_ms, 0),
        rules=settings.marks,
        histories=tuple(history(market, now_ms) for market in range(count)),
    )


def oracle_state(limits: Limits) -> OracleState:
    """Give the same oracle as the signers read it."""
    return OracleState(
        config=configuration(3),
        latest_round=1,
        bounds=limits.bounds,
        markets=limits.states,
        guards=tuple(NO_GUARD for _ in limits.states),
        controls=limits.controls,
    )


def market_state() -> MarketState:
    """Give a market whose last change is long ago, so that every kind of move is judged."""
    values = Values(
        cap_e2=1_000,  # type: ignore[arg-type]
        open_interest_cap_usdc=round_down_amount(WholeUsdc(5_000_000)),
        size_scale_usdc=round_down_amount(WholeUsdc(500_000)),
        spread_ppm=400,  # type: ignore[arg-type]
        reduce_only=False,
    )
    return MarketState(
        values=values,
        previous=values,
        frozen=False,
        revertible=False,
        held=False,
        class_id=1,
        ai_epoch=0,
        drift_used=0,
        validity_s=900,
        observed_at_ms=UnixMs(START_MS - 60_000),
        ramp_from_ppm=50_000,  # type: ignore[arg-type]
        changed_at_s=UnixS(START_MS // 1_000 - 200_000),
        ramp_s=0,
    )


def history(market: int, now_ms: int) -> MarketHistory:
    """Give a market's seeded past."""
    return MarketHistory(
        market=MarketId(market),
        symbol=f"M{market}",
        hours=series(market, HOUR_MS, 720, now_ms),
        minutes=series(market, MINUTE_MS, 1_440, now_ms),
        depth=BookDepth(bid_usdc=(2e5, 4e5, 8e5, 1.6e6), ask_usdc=(2e5, 4e5, 8e5, 1.6e6)),
    )


def series(market: int, bar_ms: int, count: int, now_ms: int) -> CandleSeries:
    """Give a seeded random walk of closed bars."""
    random = np.random.default_rng(market)
    last = now_ms - now_ms % bar_ms
    sigma = 0.0007 * np.sqrt(bar_ms / MINUTE_MS)
    close = 1_000.0 * np.exp(np.cumsum(random.normal(0.0, sigma, count)))
    opened = np.concatenate([[1_000.0], close[:-1]])
    wick = 1.0 + np.abs(random.normal(0.0, sigma / 2, count))
    return CandleSeries(
        market=MarketId(market),
        bar_ms=bar_ms,
        open_ms=np.arange(last - count * bar_ms, last, bar_ms, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * wick,
        low=np.minimum(opened, close) / wick,
        close=close,
        volume=random.uniform(10.0, 1_000.0, count),
    )


def sample(count: int, index: int) -> tuple[PriceRound, Domain, list[bytes]]:
    """Give a round, its domain and three signatures."""
    quotes = [
        PriceQuote(
            market=MarketId(market),
            price_e18=PriceE18(price_of(market, index)),
            confidence_ppm=100,  # type: ignore[arg-type]
            observed_at_ms=UnixMs(START_MS),
        )
        for market in range(count)
    ]
    message = PriceRound(
        round=1,
        observed_at_ms=UnixMs(START_MS),
        valid_until_ms=UnixMs(START_MS + 60_000),
        evidence_hash=b"\x05" * 32,
        words=pack_price_words(quotes, UnixMs(START_MS)),
    )
    domain = Domain(chain_id=CHAIN_ID, contract=FEED, config_digest=CONFIG_DIGEST)
    return message, domain, [key.sign_digest(digest(message, domain)) for key in KEYS[:3]]


__all__: list[Any] = ["Bench", "build"]
