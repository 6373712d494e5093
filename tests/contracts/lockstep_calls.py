"""Every entry point of the margin contracts, called on contracts and model alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from contracts import book_closing, book_desk, book_liquidator, book_money
from contracts import pool as law
from contracts.book import Book, Refused, Request
from contracts.book_views import exposure
from contracts.book_words import (
    ISOLATED,
    Account,
    MarketRules,
    PositionId,
    account_number,
    encode_rules,
    position_id,
    split_position_id,
)
from contracts.messages import (
    Message,
    PositionAction,
    PositionTerms,
    Posted,
    PriceRound,
    RiskUpdate,
    calldata,
    digest,
)
from contracts.packing import PriceQuote, RiskFields, join_risk_word, pack_price_words
from contracts.pool import Tranche
from contracts.refusals import Refusal
from contracts.units import MarketId, Ppm, PriceE18, UnixMs, UsdcE6
from tests.contracts.chain import RefusedError
from tests.contracts.lockstep import Twin, with_scale, words
from tests.contracts.margin_world import KEEPER, LP, OWNER, MarginWorld, on_grid
from tests.contracts.world import (
    BOUNDS,
    CLASS,
    EVIDENCE_HASH,
    FIELDS,
    GUARDIAN,
    MODEL_HASH,
    RELAYER,
    World,
    skips,
)

DAY_S = 86_400
HOUR_S = 3_600
DEPOSIT, REDEEM = 0, 1


def message_words(message: PositionTerms | PositionAction) -> list[int]:
    """Give a message's fields as the ABI has them, one word each."""
    values = [getattr(message, name) for name in message.__slots__]
    return [_number(value) for value in values]


def _number(value: object) -> int:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return int(value, 16) if isinstance(value, str) else int(value)  # type: ignore[call-overload]


def request_words(request: Request) -> list[int]:
    """Give a request's fields in the order of its struct."""
    terms = request.terms
    return [
        request.account,
        request.market,
        request.mode,
        int(request.long),
        int(request.reduce_only),
        int(terms.managed),
        request.size,
        request.margin,
        terms.leverage_e2,
        terms.maintenance_ppm,
        terms.ceiling_ppm,
        request.max_notional,
        request.fee,
        request.acceptable_price,
        request.requested_at_ms,
    ]


class Calls(Twin):
    """The entry points by name; each gives the refusal that both sides gave, None for success."""

    def __init__(self, world: MarginWorld | None = None) -> None:
        super().__init__(world)
        world = self.world
        self.domains = {each.address: each.domain() for each in (world.feed, world.oracle)}
        self.rounds = {each.address: each.next_round() for each in (world.feed, world.oracle)}
        self.requests: dict[int, tuple[int, str, Tranche, int, int, int]] = {}
        self.request_count = self.read(world.pool, "request_count")[0]
        self.tokens = self.token_sums()
        self.skipped: list[tuple[int, Refusal]] = []

    # the quorum

    def signed(self, message: Message, at: World) -> list[bytes]:
        hashed = digest(message, self.domains[at.address])
        return [each.sign(hashed) for each in at.signers[: at.threshold]]

    def signature_words(self, message: Message, head: int) -> tuple[bytes, bytes]:
        """Give the offset of the signatures behind so many words, and the signatures."""
        signatures = self.signed(message, self.world.oracle)
        return words([32 * head]), words([2 * len(signatures)]) + b"".join(signatures)

    def posted(self, message: Posted, at: World) -> Refusal | None:
        """Post a round or an update to the contracts; the model sees it by reading."""
        data = calldata(message, self.signed(message, at))
        name = type(message).__name__
        self.calls += 1
        try:
            if isinstance(message, RiskUpdate):
                self.skipped = skips(at.contract.send_raw(RELAYER, data))
            else:
                self.world.evm.send(RELAYER, at.address, data)
        except RefusedError as refused:
            self.done[name, refused.refusal.name] += 1
            return refused.refusal
        self.done[name, "ok"] += 1
        self.rounds[at.address] += 1
        self.changed()
        return None

    # what stands outside

    def post(
        self,
        prices: dict[int, int] | None = None,
        only: Iterable[int] | None = None,
        age_ms: int = 0,
    ) -> Refusal | None:
        """Post a round of some markets at prices of now."""
        world = self.world
        world.prices |= {market: on_grid(price) for market, price in (prices or {}).items()}
        at_ms = UnixMs(world.now_ms - age_ms)
        chosen = world.prices if only is None else only
        quotes = [
            PriceQuote(
                market=MarketId(market),
                price_e18=PriceE18(world.prices[market]),
                confidence_ppm=Ppm(world.confidence_ppm),
                observed_at_ms=at_ms,
            )
            for market in chosen
        ]
        message = PriceRound(
            round=self.rounds[world.feed.address],
            observed_at_ms=at_ms,
            valid_until_ms=UnixMs(at_ms + 30_000),
            evidence_hash=EVIDENCE_HASH,
            words=pack_price_words(quotes, at_ms),
        )
        return self.posted(message, world.feed)

    def update(self, *fields: RiskFields) -> Refusal | None:
        """Renew parameters; those that the oracle leaves aside stay."""
        world = self.world
        chosen = fields or tuple(world.fields[market] for market in sorted(world.fields))
        message = RiskUpdate(
            round=self.rounds[world.oracle.address],
            observed_at_ms=UnixMs(world.now_ms),
            valid_until_ms=UnixMs(world.now_ms + 3_600_000),
            model_hash=MODEL_HASH,
            evidence_hash=EVIDENCE_HASH,
            words=tuple(join_risk_word(each) for each in chosen),
        )
        refusal = self.posted(message, world.oracle)
        if refusal is None:
            aside = {market for market, _ in self.skipped}
            world.fields |= {each.market: each for each in chosen if each.market not in aside}
        return refusal

    def control(self, function: str, *arguments: int, by: str = OWNER) -> Refusal | None:
        """Pause, resume, freeze or tighten at the oracle."""
        refusal = self.send(by, self.world.oracle.contract, function, words(arguments))
        name = "ok" if refusal is None else refusal.name
        self.done[f"oracle.{function}", name] += 1
        self.calls += 1
        self.controlled()
        return refusal

    def guard(self, function: str, *arguments: int) -> Refusal | None:
        return self.control(function, *arguments, by=GUARDIAN)

    # traders' money

    def deposit(self, account: Account, amount: int) -> Refusal | None:
        call = (self.address(account), self.world.engine, "deposit", words([amount]))
        return self.do("deposit", call, lambda: book_money.deposit(self.book, account, amount))

    def withdraw(self, account: Account, amount: int) -> Refusal | None:
        call = (self.address(account), self.world.engine, "withdraw", words([amount]))
        return self.do(
            "withdraw", call, lambda: book_money.withdraw(self.book, self.seen, account, amount)
        )

    def add_margin(self, identity: PositionId, amount: int, *, from_wallet: bool) -> Refusal | None:
        account, market, _ = split_position_id(identity)
        isolated = position_id(account, market, ISOLATED)
        arguments = words([market, amount, int(from_wallet)])
        return self.do(
            "add_margin",
            (self.address(account), self.world.engine, "add_margin", arguments),
            lambda: book_money.add_margin(
                self.book, self.seen, isolated, amount, from_wallet=from_wallet
            ),
        )

    def remove_margin(self, account: Account, market: MarketId, amount: int) -> Refusal | None:
        call = (self.address(account), self.world.engine, "remove_margin", words([market, amount]))
        return self.do(
            "remove_margin",
            call,
            lambda: book_money.remove_margin(self.book, self.seen, account, market, amount),
        )

    # orders

    def request_open(
        self, caller: Account, terms: PositionTerms, wish: book_desk.Wish
    ) -> Refusal | None:
        offset, signatures = self.signature_words(terms, 20)
        asked = [wish.size, wish.margin, wish.leverage_e2, wish.acceptable_price]
        arguments = words(message_words(terms)) + offset + words(asked) + signatures
        return self.do(
            "request_open",
            (self.address(caller), self.world.desk, "request_open", arguments),
            lambda: book_desk.request_open(self.book, self.seen, caller, terms, wish)[0],
        )

    def request_close(self, identity: PositionId, size: int, worst: int) -> Refusal | None:
        account, market, mode = split_position_id(identity)
        arguments = words([market, mode, size, worst])
        return self.do(
            "request_close",
            (self.address(account), self.world.desk, "request_close", arguments),
            lambda: book_desk.request_close(self.book, self.seen, identity, size, worst)[0],
        )

    def execute(self, request: Request, executor: Account) -> Refusal | None:
        arguments = words(request_words(request))
        return self.do(
            "execute",
            (self.address(executor), self.world.desk, "execute", arguments),
            lambda: book_desk.execute_request(self.book, self.seen, request, executor)[0],
        )

    def cancel(self, request: Request) -> Refusal | None:
        call = (KEEPER, self.world.desk, "cancel", words(request_words(request)))
        return self.do("cancel", call, lambda: book_desk.cancel(self.book, self.seen, request))

    def change_terms(
        self, caller: Account, terms: PositionTerms, leverage_e2: int
    ) -> Refusal | None:
        offset, signatures = self.signature_words(terms, 17)
        arguments = words(message_words(terms)) + offset + words([leverage_e2]) + signatures
        return self.do(
            "change_terms",
            (self.address(caller), self.world.desk, "change_terms", arguments),
            lambda: book_desk.change_terms(self.book, self.seen, caller, terms, leverage_e2),
        )

    # liquidation

    def liquidate(self, identity: PositionId, caller: Account) -> Refusal | None:
        arguments = words(split_position_id(identity))
        return self.do(
            "liquidate",
            (self.address(caller), self.world.liquidator, "liquidate", arguments),
            lambda: book_liquidator.liquidate_by_formula(self.book, self.seen, identity, caller)[0],
        )

    def act(self, function: str, action: PositionAction, caller: Account) -> Refusal | None:
        """Bring a signed action to one of the liquidator's three entry points."""
        offset, signatures = self.signature_words(action, 11)
        arguments = words(message_words(action)) + offset + signatures

        def model() -> Book:
            if function == "adjust":
                return book_liquidator.adjust(self.book, self.seen, action)[0]
            act = getattr(book_liquidator, function)
            after: Book = act(self.book, self.seen, action, caller)[0]
            return after

        call = (self.address(caller), self.world.liquidator, function, arguments)
        return self.do(function, call, model)

    def deleverage_side(self, market: MarketId, side: int) -> Refusal | None:
        call = (KEEPER, self.world.liquidator, "deleverage_side", words([market, int(side == 1)]))
        return self.do(
            "deleverage_side",
            call,
            lambda: book_liquidator.deleverage_side(self.book, self.seen, market, side)[0],
        )

    def settle(self, identity: PositionId) -> Refusal | None:
        call = (KEEPER, self.world.engine, "settle", words(split_position_id(identity)))
        return self.do("settle", call, lambda: book_closing.settle(self.book, self.seen, identity))

    def catch_up(self, identity: PositionId) -> Refusal | None:
        call = (KEEPER, self.world.engine, "catch_up", words([identity]))
        return self.do("catch_up", call, lambda: book_closing.catch_up(self.book, identity))

    # the owner

    def set_rules(self, market: MarketId, rules: MarketRules) -> Refusal | None:
        call = (OWNER, self.world.engine, "set_rules", words([market, encode_rules(rules)]))
        return self.do(
            "set_rules",
            call,
            lambda: book_closing.set_rules(self.book, self.seen, market, rules),
        )

    def begin_settlement(self, market: MarketId) -> Refusal | None:
        call = (OWNER, self.world.engine, "begin_settlement", words([market]))
        return self.do(
            "begin_settlement",
            call,
            lambda: book_closing.begin_settlement(self.book, self.seen, market),
        )

    def open_market(
        self, market: MarketId, price: int, scale_usdc: int, rules: MarketRules
    ) -> None:
        """Open one more market in feed, oracle and engine."""
        world = self.world
        fields = with_scale(FIELDS._replace(market=market), scale_usdc)
        world.feed.send(OWNER, "add_market", market, CLASS)
        world.oracle.send(OWNER, "add_market", market, CLASS, join_risk_word(fields))
        world.fields[market], world.prices[market] = fields, on_grid(price)
        self.wait(BOUNDS.loosen_delay_s)
        self.post({market: price}, [market])
        self.outside = (*self.outside, market)
        self.changed()
        assert self.set_rules(market, rules) is None

    # the pool

    def request_deposit(self, owner: str, tranche: Tranche, amount: int) -> Refusal | None:
        arguments = words([tranche, amount])

        def model() -> Book:
            if amount == 0:
                raise Refused(Refusal.AMOUNT_ZERO)
            return replace(self.book, pool=law.request_deposit(self.book.pool, UsdcE6(amount)))

        call = (owner, self.world.pool, "request_deposit", arguments)
        refusal = self.do("request_deposit", call, model)
        return self._waits(refusal, (DEPOSIT, owner, tranche, amount))

    def request_redeem(self, owner: str, tranche: Tranche, shares: int) -> Refusal | None:
        held = self.shares_of(owner, tranche)

        def model() -> Book:
            if shares == 0:
                raise Refused(Refusal.AMOUNT_ZERO)
            if shares > held:
                raise Refused(Refusal.SHARES_SHORT)
            return self.book

        call = (owner, self.world.pool, "request_redeem", words([tranche, shares]))
        refusal = self.do("request_redeem", call, model)
        return self._waits(refusal, (REDEEM, owner, tranche, shares))

    def shares_of(self, owner: str, tranche: Tranche) -> int:
        view = "balanceOf" if tranche is Tranche.POOL else "insurance_shares"
        return self.read(self.world.pool, view, account_number(owner))[0]

    def _waits(
        self, refusal: Refusal | None, asked: tuple[int, str, Tranche, int]
    ) -> Refusal | None:
        if refusal is None:
            self.request_count += 1
            assert int.from_bytes(self.output, "big") == self.request_count
            self.requests[self.request_count] = (*asked, self.now_s, self.now_s + HOUR_S)
        return refusal

    def _taken(self, kind: int, number: int) -> tuple[Tranche, int, int]:
        found = self.requests.get(number)
        if found is None or found[0] != kind:
            raise Refused(Refusal.UNKNOWN_REQUEST)
        _, _, tranche, amount, asked_s, ready_s = found
        if self.now_s < ready_s:
            raise Refused(Refusal.COOLDOWN_RUNNING)
        return tranche, amount, (asked_s + 2) * 1_000

    def execute_deposit(self, number: int) -> Refusal | None:
        def model() -> Book:
            tranche, amount, since_ms = self._taken(DEPOSIT, number)
            shown = exposure(self.book, self.seen, UnixMs(since_ms))
            after = law.enter(self.book.pool, tranche, UsdcE6(amount), shown)
            if isinstance(after, law.Refused):
                raise Refused(after.refusal)
            return replace(self.book, pool=after.state)

        return self._ended("execute_deposit", KEEPER, number, model)

    def execute_redeem(self, number: int) -> Refusal | None:
        def model() -> Book:
            if not self.seen.withdrawals_open:
                raise Refused(Refusal.WITHDRAWALS_PAUSED)
            tranche, shares, since_ms = self._taken(REDEEM, number)
            shown = exposure(self.book, self.seen, UnixMs(since_ms))
            after = law.leave(self.book.pool, tranche, shares, shown)
            if isinstance(after, law.Refused):
                raise Refused(after.refusal)
            return replace(self.book, pool=after.state)

        return self._ended("execute_redeem", KEEPER, number, model)

    def _ended(self, function, sender, number, model) -> Refusal | None:  # type: ignore[no-untyped-def]
        refusal = self.do(function, (sender, self.world.pool, function, words([number])), model)
        if refusal is None:
            del self.requests[number]
        return refusal

    def cancel_request(self, function: str, sender: str, number: int) -> Refusal | None:
        """Take a deposit or a redemption back."""
        kind = DEPOSIT if function == "cancel_deposit" else REDEEM

        def model() -> Book:
            found = self.requests.get(number)
            if found is None or found[0] != kind:
                raise Refused(Refusal.UNKNOWN_REQUEST)
            if found[1] != sender:
                raise Refused(Refusal.NOT_REQUESTER)
            if self.now_s < found[5] + 7 * DAY_S:
                raise Refused(Refusal.NOT_LAPSED)
            if kind == REDEEM:
                return self.book
            return replace(self.book, pool=law.cancel_deposit(self.book.pool, UsdcE6(found[3])))

        return self._ended(function, sender, number, model)

    # gifts and mistakes

    def donate(self, to: str, amount: int) -> None:
        """Send tokens to a contract that did not ask for any."""
        token = self.world.token
        self.send(LP, token, "mint", words([account_number(to), amount]))
        self.tokens += amount

    def sweep(self, contract: str) -> Refusal | None:
        """Have a contract give its excess to the insurance."""
        world = self.world
        at = world.vault if contract == "vault" else world.pool
        excess = self.read(at, "excess")[0]

        def model() -> Book:
            if excess == 0:
                raise Refused(Refusal.NOTHING_TO_SWEEP)
            return replace(self.book, pool=law.insure(self.book.pool, UsdcE6(excess)))

        return self.do(f"sweep {contract}", (KEEPER, at, "sweep", b""), model)

    # tokens

    def held_tokens(self, address: str) -> int:
        return self.read(self.world.token, "balanceOf", account_number(address))[0]

    def token_sums(self) -> int:
        """Give what vault and pool hold together."""
        return self.held_tokens(self.world.vault.address) + self.held_tokens(
            self.world.pool.address
        )
