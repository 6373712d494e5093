"""All eight contracts and a test USDC on one chain, with roles, prices, parameters and signatures.

Addresses that do not exist yet are predicted from the deployer's nonce and compared afterwards.
The pool is funded and nothing is launched, so the owner's calls do not wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from contracts.book_words import (
    CROSS,
    ISOLATED,
    AccountBook,
    MarketRules,
    Position,
    account_number,
    decode_account,
    decode_position,
    encode_rules,
    position_id,
)
from contracts.fields import checksummed, keccak256
from contracts.margin_sides import Cut
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    Message,
    PositionAction,
    PositionTerms,
    Side,
)
from contracts.packing import PriceQuote, RiskFields, pack_price_words
from contracts.refusals import Refusal
from contracts.units import MarketId, Ppm, PriceE18, UnixMs, UsdcE6, WholeUsdc
from tests.contracts import margin_books
from tests.contracts.chain import Contract, Evm, Receipt, RefusedError, new_evm
from tests.contracts.doubles import compiled, double
from tests.contracts.margin_books import Market
from tests.contracts.world import (
    EVIDENCE_HASH,
    FIELDS,
    GUARDIAN,
    MODEL_HASH,
    OWNER,
    RULES,
    STRANGER,
    TIMELOCK_S,
    FeedWorld,
    OracleWorld,
    skips,
)

E18 = 10**18
USDC = 10**6
HOUR_S = 3_600
GAP_S = RULES.window_ms // 1_000 + 1  # after it any price is accepted
AVERAGE_S = 300  # a gap of just so long makes the last price the average, and is no gap yet
WINDOW_S = 17
ANY_PRICE = 2**256 - 1
NAMES = (
    "CollateralVault",
    "LiquidityPool",
    "MarginEngine",
    "OrderDesk",
    "Liquidator",
    "MarginViews",
)


def role(name: str) -> str:
    """Give a role's address."""
    return checksummed("0x" + keccak256(name.encode())[12:].hex())


DEPLOYER, KEEPER, LP = role("deployer"), role("keeper"), role("lp")
TRADERS = tuple(role(f"trader {index}") for index in range(4))
TRADER = TRADERS[0]


def on_grid(price: int) -> int:
    """Give the price that a round can say: 32 bits of it, rounded down."""
    shift = max(0, price.bit_length() - 32)
    return price >> shift << shift


PRICES = {0: on_grid(100 * E18), 1: on_grid(2_000 * E18), 2: on_grid(E18 // 2)}
MARKET_RULES = MarketRules(
    fee_ppm=Ppm(500),
    impact_ppm=Ppm(2_000),
    funding_daily_ppm=Ppm(10_000),
    interest_share_ppm=Ppm(500_000),
    skew_share_ppm=Ppm(400_000),
    penalty_min_ppm=Ppm(2_500),
    penalty_max_ppm=Ppm(15_000),
    cut_share_ppm=Ppm(600_000),
    min_notional_usdc=WholeUsdc(100),
    reward=UsdcE6(200_000),
    execution_fee=UsdcE6(100_000),
    liquidation_age_s=60,
    band_ppm=Ppm(50_000),
)
POOL_E6 = 2_000_000 * USDC
INSURANCE_E6 = 50_000 * USDC


def created_by(sender: str, nonce: int) -> str:
    """Give the address of the contract that a sender creates at a nonce below 128."""
    encoded = bytes([0xD6, 0x94]) + bytes.fromhex(sender[2:]) + bytes([nonce or 0x80])
    return checksummed("0x" + keccak256(encoded)[12:].hex())


def message_tuple(message: Message) -> tuple[Any, ...]:
    """Give a message as the ABI takes it."""
    values = [getattr(message, name) for name in message.__slots__]
    return tuple(int(value) if isinstance(value, int) else value for value in values)


def halves(signatures: Sequence[bytes]) -> list[bytes]:
    """Give signatures as pairs (r, vs)."""
    return [half for signature in signatures for half in (signature[:32], signature[32:])]


def request_of(receipt: Receipt) -> tuple[Any, ...]:
    """Rebuild a request from its event alone, as an executor does."""
    (event,) = (item for item in receipt.events if item.name == "Requested")
    request: tuple[Any, ...] = event.fields["request"]
    return request


def events(receipt: Receipt, name: str) -> list[dict[str, Any]]:
    """Give the fields of a receipt's events of one name."""
    return [dict(event.fields) for event in receipt.events if event.name == name]


class Deployment:
    """The eight contracts and the token."""

    def __init__(self, evm: Evm, threshold: int, token: str, markets: int) -> None:
        self.evm = evm
        self.feed = FeedWorld(markets=markets, evm=evm, threshold=threshold)
        self.oracle = OracleWorld(markets=markets, evm=evm, threshold=threshold)
        self.token = double(evm, token, STRANGER)
        places = {name: created_by(DEPLOYER, nonce) for nonce, name in enumerate(NAMES)}
        self.contracts: dict[str, Contract] = {}
        for name, arguments in self._arguments(places).items():
            self.contracts[name] = Contract(evm, name, DEPLOYER, arguments)
            assert self.contracts[name].address == places[name], f"{name} stands elsewhere"
        self.vault, self.pool, self.engine, self.desk, self.liquidator, self.views = (
            self.contracts[name] for name in NAMES
        )
        everything = [*self.contracts.values(), self.feed.contract, self.oracle.contract]
        for one in everything:
            for other in everything:
                one.learn(other.abi)
            one.learn(compiled(token).abi)

    def _arguments(self, at: dict[str, str]) -> dict[str, list[Any]]:
        token, feed, oracle = self.token.address, self.feed.address, self.oracle.address
        vault, pool, engine, desk, liquidator, views = (at[name] for name in NAMES)
        authority = [OWNER, GUARDIAN, TIMELOCK_S]
        return {
            "CollateralVault": [token, engine, pool],
            "LiquidityPool": [token, engine, views, vault, *authority],
            "MarginEngine": [feed, oracle, vault, pool, desk, liquidator, *authority],
            "OrderDesk": [engine, oracle],
            "Liquidator": [engine, feed, oracle, pool],
            "MarginViews": [engine, feed, oracle, pool, vault, token],
        }


class MarginWorld(Deployment):
    """A funded system with three markets, or others, and what the roles do with it."""

    def __init__(
        self,
        evm: Evm | None = None,
        threshold: int = 2,
        token: str = "TestUSDC",
        fund: bool = True,
        prices: Mapping[int, int] = MappingProxyType(PRICES),
    ) -> None:
        super().__init__(evm or new_evm(), threshold, token, len(prices))
        self.prices = dict(prices)
        self.confidence_ppm = 0
        self.fields = {market: FIELDS._replace(market=market) for market in prices}
        self.nonces = dict.fromkeys([*TRADERS, STRANGER], 0)
        self.waiting: dict[bytes, tuple[Any, ...]] = {}
        for market in prices:
            self.set_rules(market)
        self.refresh()
        if fund:
            self.supply(1, POOL_E6)
            self.supply(2, INSURANCE_E6)

    # time, prices and parameters

    @property
    def now_s(self) -> int:
        """The time of the next block."""
        return self.evm.now_s

    @property
    def now_ms(self) -> int:
        """The time of the next block."""
        return self.evm.now_s * 1_000

    def wait(self, seconds: int) -> None:
        """Let time pass; prices grow old."""
        self.evm.set_time(self.evm.now_s + seconds)

    def pass_time(self, seconds: int) -> None:
        """Let time pass with a round and an update every 40 s, at unchanged prices."""
        while seconds > 0:
            step = min(seconds, 40)
            self.wait(step)
            self.post()
            seconds -= step

    def set_rules(self, market: int, **changes: int) -> Receipt:
        """Set a market's rules as the owner."""
        word = encode_rules(replace(MARKET_RULES, **changes))
        return self.engine.send(OWNER, "set_rules", market, word)

    def post(
        self,
        prices: dict[int, int] | None = None,
        observed_at_ms: int = 0,
        only: Sequence[int] | None = None,
    ) -> Receipt:
        """Post a round of every market at the prices known, changed where given."""
        self.prices |= {market: on_grid(price) for market, price in (prices or {}).items()}
        at_ms = UnixMs(observed_at_ms or self.now_ms)
        quotes = [
            PriceQuote(
                market=MarketId(market),
                price_e18=PriceE18(price),
                confidence_ppm=Ppm(self.confidence_ppm),
                observed_at_ms=at_ms,
            )
            for market, price in self.prices.items()
            if only is None or market in only
        ]
        words = pack_price_words(quotes, at_ms)
        return self.feed.post(self.feed.message(*words, observed_at_ms=at_ms))

    def update(self, **changes: int) -> Receipt:
        """Renew every market's parameters, changed alike where asked."""
        for market, fields in self.fields.items():
            self.fields[market] = fields._replace(**changes)
        return self._decide(*self.fields.values())

    def set_fields(self, fields: RiskFields) -> Receipt:
        """Change one market's parameters."""
        self.fields[fields.market] = fields
        return self._decide(fields)

    def _decide(self, *fields: RiskFields) -> Receipt:
        receipt = self.oracle.update(*fields)
        assert not skips(receipt), f"the oracle left aside {skips(receipt)}"
        return receipt

    def refresh(self) -> None:
        """Renew parameters and prices."""
        self.update()
        self.post()

    def move(self, market: int, price: int) -> None:
        """Bring a market to a price, however far, with the others fresh."""
        self.wait(GAP_S)
        self.post({market: price})

    def rest(self, market: int, price: int) -> None:
        """Bring a market to a price and keep it there until its average has followed."""
        self.move(market, price)
        self.wait(AVERAGE_S)
        self.post()

    # money

    def mint(self, account: str, amount: int, spender: Contract) -> None:
        """Give an account tokens that a contract may take."""
        self.token.send(account, "mint", account, amount)
        self.token.send(account, "approve", spender.address, ANY_PRICE)

    def deposit(self, account: str, amount: int) -> Receipt:
        """Deposit new tokens."""
        self.mint(account, amount, self.vault)
        return self.engine.send(account, "deposit", amount)

    def supply(self, tranche: int, amount: int, account: str = LP) -> None:
        """Deposit into the pool and wait until it counts."""
        self.pool.send(OWNER, "set_cooldowns", tranche, HOUR_S, HOUR_S)
        self.mint(account, amount, self.pool)
        receipt = self.pool.send(account, "request_deposit", tranche, amount)
        self.wait(HOUR_S)
        self.refresh()
        self.pool.send(KEEPER, "execute_deposit", int.from_bytes(receipt.output, "big"))

    # decisions

    def sign(self, message: Message) -> list[bytes]:
        """Sign terms or an action by the quorum."""
        return halves(self.oracle.signatures(message))

    def terms(self, account: str = TRADER, **changes: Any) -> PositionTerms:
        """Make new terms of now: isolated, long, fixed, market 0, up to 10x."""
        self.nonces[account] += 1
        plain = {
            "observed_at_ms": self.now_ms,
            "valid_until_ms": self.now_ms + 60_000,
            "account": account,
            "market": 0,
            "side": Side.LONG,
            "margin_mode": MarginMode.ISOLATED,
            "adjustment": Adjustment.FIXED,
            "max_notional_e6": 10**6 * USDC,
            "max_leverage_e2": 1_000,
            "maintenance_ppm": 50_000,
            "maintenance_ceiling_ppm": 80_000,
            "risk_score_ppm": 250_000,
            "nonce": self.nonces[account],
            "model_hash": MODEL_HASH,
            "evidence_hash": EVIDENCE_HASH,
        }
        return PositionTerms(**{**plain, **changes})

    def action(self, held_id: int, kind: ActionKind, **changes: Any) -> PositionAction:
        """Make an action of now on the present version of a position."""
        plain = {
            "observed_at_ms": self.now_ms,
            "valid_until_ms": self.now_ms + 60_000,
            "position_id": held_id,
            "position_version": decode_position(self.engine.read("position", held_id)).version,
            "kind": kind,
            "maintenance_ppm": 80_000,
            "max_size_e18": 2**120 - 1,
            "price_bound_e18": 0,
            "model_hash": MODEL_HASH,
            "evidence_hash": EVIDENCE_HASH,
        }
        return PositionAction(**{**plain, **changes})

    def act(self, function: str, action: PositionAction, sender: str = KEEPER) -> Receipt:
        """Bring a signed action to the liquidator."""
        return self.liquidator.send(sender, function, message_tuple(action), self.sign(action))

    # orders

    def request_open(self, terms: PositionTerms, size: int, **asked: int) -> Receipt:
        """Ask to open, with any price acceptable and 5x unless said."""
        worst = ANY_PRICE if terms.side > 0 else 0
        plain = {"margin": 0, "leverage_e2": 500, "acceptable_price": worst}
        values = {**plain, **asked}
        receipt = self.desk.send(
            terms.account,
            "request_open",
            message_tuple(terms),
            self.sign(terms),
            size,
            *values.values(),
        )
        self._remember(receipt)
        return receipt

    def request_close(
        self, account: str, market: int = 0, mode: int = ISOLATED, size: int = ANY_PRICE
    ) -> Receipt:
        """Ask to close, any price acceptable."""
        worst = 0 if self.held(account, market, mode).long else ANY_PRICE
        receipt = self.desk.send(account, "request_close", market, mode, size, worst)
        self._remember(receipt)
        return receipt

    def change_terms(self, terms: PositionTerms, leverage_e2: int) -> Receipt:
        """Put an open position under new terms."""
        signed = self.sign(terms)
        return self.desk.send(
            terms.account, "change_terms", message_tuple(terms), signed, leverage_e2
        )

    def _remember(self, receipt: Receipt) -> None:
        self.waiting[receipt.output] = request_of(receipt)

    def execute(self, requested: Receipt, sender: str = KEEPER) -> Receipt:
        """Execute a request at the price that stands."""
        receipt = self.desk.send(sender, "execute", request_of(requested))
        del self.waiting[requested.output]
        return receipt

    def cancel(self, requested: Receipt, sender: str = STRANGER) -> Receipt:
        """Cancel a request."""
        receipt = self.desk.send(sender, "cancel", request_of(requested))
        del self.waiting[requested.output]
        return receipt

    def fill(self, requested: Receipt) -> Receipt:
        """Wait for the window, post a round at the same prices, execute."""
        self.wait(3)
        self.post()
        return self.execute(requested)

    def open(self, terms: PositionTerms, size: int, **asked: int) -> Receipt:
        """Open, all the way."""
        return self.fill(self.request_open(terms, size, **asked))

    def refuses_order(self, refusal: Refusal, requested: Receipt) -> None:
        """Expect that a request is refused when it is executed; it goes on waiting."""
        self.wait(3)
        self.post()
        with self.refuses(refusal):
            self.execute(requested)

    def close(
        self, account: str, market: int = 0, mode: int = ISOLATED, size: int = ANY_PRICE
    ) -> Receipt:
        """Close, all the way."""
        return self.fill(self.request_close(account, market, mode, size))

    def liquidate(
        self, account: str, market: int = 0, mode: int = ISOLATED, sender: str = KEEPER
    ) -> Receipt:
        """Liquidate by the formula that anybody may call."""
        return self.liquidator.send(sender, "liquidate", account, market, mode)

    # reads

    def held_id(self, account: str, market: int = 0, mode: int = ISOLATED) -> int:
        """Name a position."""
        return position_id(account_number(account), MarketId(market), mode)

    def held(self, account: str, market: int = 0, mode: int = ISOLATED) -> Position:
        """Read a position as it is stored: cuts since its last touch are not applied."""
        return decode_position(self.engine.read("position", self.held_id(account, market, mode)))

    def holder(self, account: str) -> AccountBook:
        """Read an account as it is stored."""
        return decode_account(*self.engine.read("account", account))

    def market(self, market: int) -> Market:
        """Read a market as it is stored."""
        return margin_books.decode_market(self.engine.read("market", market))

    def cut_at(self, market: int, long: bool, number: int) -> Cut:
        """Read a side's two numbers at a cut."""
        if number == 0:
            return Cut()
        keep, cash = self.engine.read("cut_at", market, long, number)
        return Cut(keep_e27=keep, cash=cash)

    def view(self, function: str, *arguments: Any) -> dict[str, Any]:
        """Read one of the decoded views as a mapping."""
        entry = next(e for e in self.views.abi if e.get("name") == function)
        names = [item["name"] for item in entry["outputs"][0]["components"]]
        return dict(zip(names, self.views.read(function, *arguments), strict=True))

    def totals(self) -> dict[str, int]:
        """Read what vault and pool owe and hold."""
        return self.view("totals")

    def wallet(self, account: str) -> int:
        """Read an account's tokens."""
        found: int = self.token.read("balanceOf", account)
        return found

    def escrow(self) -> int:
        """Add up what waiting isolated requests hold outside of every balance."""
        return sum(item[7] + item[12] for item in self.waiting.values() if item[2] != CROSS)

    def invariants(self) -> None:
        """Assert what must hold after every call."""
        accounts = [*TRADERS, KEEPER, LP, STRANGER]
        margin_books.check(self, accounts, len(self.prices), self.escrow())

    @contextmanager
    def refuses(self, refusal: Refusal) -> Iterator[None]:
        """Expect this refusal, and that no money moved."""
        before = (self.totals(), [self.holder(account) for account in TRADERS])
        with pytest.raises(RefusedError) as caught:
            yield
        assert caught.value.refusal is refusal
        assert (self.totals(), [self.holder(account) for account in TRADERS]) == before
