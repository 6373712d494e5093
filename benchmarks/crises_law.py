"""The law in a replay: feed, oracle and book as their exact mirrors, and a log of every call.

Each call is what the contracts are sent: signed rounds and updates as messages, trades through the
desk, liquidations by the formula. `contracts/*.py` are proved equal to the contracts word by word;
`benchmarks.crises_contracts` sends such a log to the contracts themselves and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agent.snapshot import Feed, Limits
from agent.triggers import Posted
from contracts import book_desk, book_liquidator, book_money, price_feed, risk_oracle
from contracts.book import Book, MarketBook, Refused, Request
from contracts.book_readings import Limits as MarketLimits
from contracts.book_readings import Mark, Reading, Readings, decode_margin
from contracts.book_words import Account, MarketRules, PositionId
from contracts.envelope import EPOCH_MS, Configuration
from contracts.halts import NO_CONTROLS, NO_GUARD
from contracts.messages import Domain, PositionTerms, PriceRound, RiskUpdate
from contracts.packing import PriceQuote, pack_price_words
from contracts.pool import PoolState
from contracts.price_feed import (
    ClassRules,
    FeedState,
    MarketPrice,
    is_fresh,
    may_carry_new_risk,
)
from contracts.readings import margin_word
from contracts.refusals import Refusal
from contracts.risk_bounds import ClassBounds, Values
from contracts.risk_oracle import MarketState, OracleState
from contracts.units import (
    USDC,
    MarketId,
    Ppm,
    PriceE18,
    UnixMs,
    UnixS,
    UsdcE6,
    maintenance_from_cap,
)

MS: Final = 1_000
KEEPER: Final = Account((1 << 159) + (1 << 80))
EVIDENCE: Final = bytes(32)
NOBODY: Final = Configuration(config_digest=bytes(32), config_count=1, threshold=2, signers=())
NOWHERE: Final = Domain(chain_id=1, contract="0x" + "00" * 20, config_digest=bytes(32))
NEW_SHARES: Final = 10**6
"""Shares that one unit of a first deposit buys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """What the owner deploys for one class of markets."""

    prices: ClassRules
    bounds: ClassBounds
    margin: MarketRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a history: when, which, with what, and how it ended (None: it succeeded).

    `after`: the book after it, or, of a round or an update, what the engine then reads.
    """

    now_s: UnixS
    name: str
    arguments: tuple[Any, ...]
    refusal: Refusal | None
    after: Book | Readings


class Law:
    """One deployment's state, moved by calls; refused calls leave it as it was."""

    def __init__(
        self, feed: FeedState, oracle: OracleState, book: Book, *, keeps_log: bool = False
    ) -> None:
        self.feed, self.oracle, self.book = feed, oracle, book
        self.now_s = UnixS(0)
        self.log: list[Call] | None = [] if keeps_log else None
        self._resumed: dict[MarketId, UnixS] = {}
        self._seen: Readings | None = None
        self._words: dict[MarketId, tuple[object, MarketLimits]] = {}

    def at(self, now_s: int) -> None:
        """Let time pass."""
        self.now_s = UnixS(now_s)
        self._seen = None

    @property
    def seen(self) -> Readings:
        """What feed and oracle show in this block, as the engine reads it."""
        if self._seen is None:
            markets = {
                MarketId(number): self._reading(MarketId(number))
                for number in range(len(self.feed.markets))
            }
            self._seen = Readings(now_s=self.now_s, markets=markets)
        return self._seen

    def _reading(self, market: MarketId) -> Reading:
        price, state = self.feed.markets[market], self.oracle.markets[market]
        rules = self.feed.rules[price.class_id]
        return Reading(
            mark=Mark(
                price=price.price_e18,
                average=price.average_e18,
                confidence_ppm=price.confidence_ppm,
                observed_at_ms=price.observed_at_ms if price.has_price else UnixMs(0),
                unconfirmed=price.unconfirmed,
                fresh=price.has_price and is_fresh(price, rules, self.now_s),
                new_risk=may_carry_new_risk(price, rules, self.now_s),
            ),
            limits=self._limits_of(market, state),
            price_resumed_at_s=self._resumed.get(market, UnixS(0)),
            notice_s=self.oracle.bounds[state.class_id].notice_s,
        )

    def _limits_of(self, market: MarketId, state: MarketState) -> MarketLimits:
        """Read a market's parameters; they stand still while no ramp runs and nothing expires."""
        oracle, now_s = self.oracle, self.now_s
        ramps = now_s <= state.changed_at_s + state.ramp_s
        key = (state, state.expired(now_s), now_s if ramps else UnixS(0))
        held = self._words.get(market)
        if held is None or held[0] != key:
            bounds = oracle.bounds[state.class_id]
            word = margin_word(state, oracle.guards[market], oracle.controls, bounds, now_s)
            held = (key, decode_margin(word))
            self._words[market] = held
        return held[1]

    # what the daemon posts

    def post(self, prices: Sequence[int], confidence_ppm: int) -> None:
        """Post a round of every market, observed now."""
        at_ms = UnixMs(self.now_s * MS)
        quotes = [
            PriceQuote(
                market=MarketId(market),
                price_e18=PriceE18(price),
                confidence_ppm=Ppm(confidence_ppm),
                observed_at_ms=at_ms,
            )
            for market, price in enumerate(prices)
        ]
        message = PriceRound(
            round=self.feed.latest_round + 1,
            observed_at_ms=at_ms,
            valid_until_ms=UnixMs(at_ms + 30_000),
            evidence_hash=EVIDENCE,
            words=pack_price_words(quotes, at_ms),
        )
        result = price_feed.apply_round(self.feed, message, self.now_s)
        refusal = result if isinstance(result, Refusal) else None
        if not isinstance(result, Refusal):
            self.feed = result.state
            self._resumed |= dict.fromkeys(result.resumed, self.now_s)
        self._note("post", (message,), refusal)

    def update(self, words: Sequence[int], as_of_ms: int, validity_s: int, model: bytes) -> None:
        """Post an update that was decided at `as_of_ms`."""
        message = RiskUpdate(
            round=self.oracle.latest_round + 1,
            observed_at_ms=UnixMs(as_of_ms),
            valid_until_ms=UnixMs(as_of_ms + validity_s * MS),
            model_hash=model,
            evidence_hash=EVIDENCE,
            words=tuple(words),
        )
        result = risk_oracle.apply_update(self.oracle, message, self.now_s)
        refusal = result if isinstance(result, Refusal) else None
        if not isinstance(result, Refusal):
            self.oracle = result.state
        self._note("update", (message,), refusal)

    def begin_at(self, values: Sequence[Values]) -> None:
        """Put markets that have only begun to the values that they have long had."""
        markets = zip(self.oracle.markets, values, strict=True)
        states = tuple(_at_values(state, each) for state, each in markets)
        self.oracle = replace(self.oracle, markets=states)
        self._seen = None

    # what traders and keepers send

    def deposit(self, account: Account, amount: int) -> Refusal | None:
        """Put tokens into an account's balance."""
        return self._do(
            "deposit",
            (account, amount),
            lambda: book_money.deposit(self.book, account, UsdcE6(amount)),
        )

    def request_open(
        self, account: Account, terms: PositionTerms, wish: book_desk.Wish
    ) -> Request | Refusal:
        """Ask to open under terms."""
        made: list[Request] = []

        def ask() -> Book:
            after, request = book_desk.request_open(self.book, self.seen, account, terms, wish)
            made.append(request)
            return after

        refusal = self._do("request_open", (account, terms, wish), ask)
        return made[0] if refusal is None else refusal

    def request_close(self, identity: PositionId, size: int, worst: int) -> Request | Refusal:
        """Ask to close a position or a part of it."""
        made: list[Request] = []

        def ask() -> Book:
            after, request = book_desk.request_close(
                self.book,
                self.seen,
                identity,
                size,  # type: ignore[arg-type]  # SizeE18
                PriceE18(worst),
            )
            made.append(request)
            return after

        refusal = self._do("request_close", (identity, size, worst), ask)
        return made[0] if refusal is None else refusal

    def execute(self, request: Request) -> Refusal | None:
        """Execute what waits, as the keeper does."""
        return self._do(
            "execute",
            (request,),
            lambda: book_desk.execute_request(self.book, self.seen, request, KEEPER)[0],
        )

    def liquidate(self, identity: PositionId) -> tuple[Refusal | None, int]:
        """Liquidate by the formula; the size that was closed, 0 where a price was only noted."""
        closed: list[int] = []

        def act() -> Book:
            after, size = book_liquidator.liquidate_by_formula(
                self.book, self.seen, identity, KEEPER
            )
            closed.append(size)
            return after

        refusal = self._do("liquidate", (identity,), act)
        return refusal, (closed[0] if closed else 0)

    def _do(
        self, name: str, arguments: tuple[Any, ...], call: Callable[[], Book]
    ) -> Refusal | None:
        try:
            self.book, refusal = call(), None
        except Refused as refused:
            refusal = refused.refusal
        self._note(name, arguments, refusal, keeps_view=True)
        return refusal

    def _note(
        self,
        name: str,
        arguments: tuple[Any, ...],
        refusal: Refusal | None,
        *,
        keeps_view: bool = False,
    ) -> None:
        if not keeps_view:
            self._seen = None
        if self.log is not None:
            after = self.book if keeps_view else self.seen
            self.log.append(
                Call(now_s=self.now_s, name=name, arguments=arguments, refusal=refusal, after=after)
            )

    # what the agent reads

    @property
    def limits(self) -> Limits:
        """What both contracts hold, as a cycle reads it."""
        oracle = self.oracle
        posted = tuple(
            Posted(
                price_e18=each.price_e18,
                observed_at_ms=each.observed_at_ms,
                unconfirmed=each.unconfirmed,
            )
            for each in self.feed.markets
        )
        return Limits(
            domain=NOWHERE,
            block_number=1,
            timestamp_s=self.now_s,
            round=oracle.latest_round,
            controls=oracle.controls,
            bounds=oracle.bounds,
            states=oracle.markets,
            feed=Feed(domain=NOWHERE, round=self.feed.latest_round, posted=posted),
        )


def deployed(
    classes: Mapping[int, Class],
    of_markets: Sequence[int],
    values: Sequence[Values],
    start_s: int,
    funds_usdc: tuple[int, int],
) -> Law:
    """Give a law in which nobody has traded; `funds_usdc`: of the pool and of its insurance."""
    markets = tuple(
        _state(class_id, each, start_s) for class_id, each in zip(of_markets, values, strict=True)
    )
    oracle = OracleState(
        config=NOBODY,
        latest_round=0,
        bounds={number: each.bounds for number, each in classes.items()},
        markets=markets,
        guards=(NO_GUARD,) * len(markets),
        controls=NO_CONTROLS,
    )
    prices = tuple(_unpriced(class_id) for class_id in of_markets)
    rules = {number: each.prices for number, each in classes.items()}
    feed = FeedState(config=NOBODY, latest_round=0, rules=rules, markets=prices)
    books = {
        MarketId(number): MarketBook(rules=classes[class_id].margin, at_s=UnixS(start_s))
        for number, class_id in enumerate(of_markets)
    }
    pool_usdc, insurance_usdc = funds_usdc
    pool = PoolState(
        assets=UsdcE6(pool_usdc * USDC),
        insurance=UsdcE6(insurance_usdc * USDC),
        shares=pool_usdc * USDC * NEW_SHARES,
        insurance_shares=insurance_usdc * USDC * NEW_SHARES,
    )
    law = Law(feed, oracle, Book(markets=books, pool=pool))
    law.at(start_s)
    return law


def _state(class_id: int, values: Values, start_s: int) -> MarketState:
    return MarketState(
        values=values,
        previous=values,
        frozen=False,
        revertible=False,
        held=False,
        class_id=class_id,
        ai_epoch=0,
        drift_used=0,
        validity_s=0,
        observed_at_ms=EPOCH_MS,
        ramp_from_ppm=maintenance_from_cap(values.cap_e2),
        changed_at_s=UnixS(start_s - 86_400),
        ramp_s=0,
    )


def _at_values(state: MarketState, values: Values) -> MarketState:
    ratio = maintenance_from_cap(values.cap_e2)
    return replace(state, values=values, previous=values, ramp_from_ppm=ratio)


def _unpriced(class_id: int) -> MarketPrice:
    return MarketPrice(
        mantissa=0,
        exponent=0,
        average=0,
        confidence=0,
        observed_at_ms=EPOCH_MS,
        class_id=class_id,
        unconfirmed=False,
    )
