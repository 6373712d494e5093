"""What the demo's people do with the margin contracts: bring money, take terms, open, look.

Everybody here is an account of the local chain, whose money anybody may mint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode

from agent.demo.stage import Stage
from agent.network import local_role
from agent.terms import Known, Wish, terms_for
from agent.world import domain_of
from contracts.margin import liquidation_price
from contracts.messages import Adjustment, MarginMode, PositionTerms, Side
from contracts.refusals import Refusal
from contracts.units import PPM, LeverageE2, MarketId, Ppm, UsdcE6
from relayer.chain import margin_calls as calls
from relayer.chain.reads import Question, ask, read_chain
from relayer.chain.requests import REQUEST_TYPES, RequestWatch
from relayer.chain.values import MarginContracts
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.delivery.states import Effective
from relayer.errors import Reverted
from relayer.evidence import pack
from relayer.signing.values import NoQuorum, Proposal, SignedMessage

E18 = 10**18
USDC = 1_000_000
ANY_PRICE = 2**256 - 1
TERMS_VALID_MS = 300_000


class OpeningRefused(Exception):  # noqa: N818 - named for what happened
    """A request to open did not become a position."""


# The story goes close to the cap, so its people have all of it; `aml quote` judges an account.
WELL_KNOWN = Known(multiplier_ppm=Ppm(PPM))


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """The margin contracts as the story's people use them."""

    stage: Stage

    @property
    def at(self) -> MarginContracts:
        """Where the contracts stand."""
        margin = self.stage.daemon.deployment.margin
        assert margin is not None, "the local network deploys them"
        return margin

    def wallet(self, role: str) -> Wallet:
        """Give somebody's account."""
        return Wallet(self.stage.daemon.endpoint, local_role(role), FeeRules())

    def market(self, symbol: str) -> MarketId:
        """Find a market by its symbol."""
        markets = self.stage.daemon.deployment.markets
        return next(market.market for market in markets if market.symbol == symbol)

    async def mint(self, role: str, amount: int, spender: str) -> Wallet:
        """Give somebody test USDC, approved for a contract."""
        wallet = self.wallet(role)
        await wallet.tell(self.at.token, calls.MINT, wallet.address, amount)
        await wallet.tell(self.at.token, calls.APPROVE, spender, amount)
        return wallet

    async def deposit(self, role: str, amount: int) -> Wallet:
        """Bring somebody's USDC into the account."""
        wallet = await self.mint(role, amount, self.at.vault)
        await wallet.tell(self.at.engine, calls.DEPOSIT, amount)
        return wallet

    async def position(self, role: str, symbol: str, mode: MarginMode) -> dict[str, Any]:
        """Read a position as it counts now."""
        account = self.wallet(role).address
        inputs = (account, self.market(symbol), int(mode))
        (answer,) = await self._view(calls.POSITION_VIEW, inputs)
        return dict(zip(calls.POSITION_FIELDS, answer, strict=True))

    async def account(self, role: str) -> dict[str, Any]:
        """Read a cross account as it counts now."""
        (answer,) = await self._view(calls.ACCOUNT_VIEW, (self.wallet(role).address,))
        return dict(zip(calls.ACCOUNT_FIELDS, answer, strict=True))

    async def totals(self) -> dict[str, int]:
        """Read what the contracts owe and hold."""
        (answer,) = await self._view(calls.TOTALS_VIEW, ())
        return dict(zip(calls.TOTALS_FIELDS, answer, strict=True))

    async def _view(self, view: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ANN401
        endpoint = self.stage.daemon.endpoint
        question = Question("answer", view, self.at.views, inputs)
        answers = await ask(endpoint, await endpoint.block("latest"), [question])
        return (answers["answer"],)

    async def price(self, symbol: str) -> int:
        """Give the mark that the feed holds."""
        market = self.market(symbol)
        posted = (await self.stage.daemon.hands.world.feed()).posted[market]
        assert posted is not None, f"{symbol} has no price"
        return posted.price_e18

    async def terms(self, wish: Wish) -> SignedMessage | NoQuorum:
        """Have the risk signers judge and sign somebody's terms."""
        daemon = self.stage.daemon
        state = await read_chain(daemon.endpoint, daemon.deployment)
        now_ms = await self.stage.now_ms()
        fields: dict[str, Any] = {"kind": "terms", "as_of_ms": now_ms, "account": wish.account}
        evidence_hash, bundle = pack(fields)
        await daemon.hands.evidence.keep(evidence_hash, bundle, {})
        hashes = (daemon.mind.model_hash, evidence_hash)
        terms = terms_for(wish, state.oracle, now_ms, hashes, WELL_KNOWN)
        oracle = daemon.deployment.risk_oracle
        domain = domain_of(state.chain_id, oracle, state.oracle.config)
        return await daemon.hands.quorum.collect(Proposal(message=terms, domain=domain))

    async def request_open(
        self, role: str, signed: SignedMessage, size: int, margin: int, leverage_e2: int
    ) -> None:
        """Take signed terms to the desk."""
        terms = signed.message
        assert isinstance(terms, PositionTerms)
        limit = ANY_PRICE if terms.side is Side.LONG else 0
        halves = [h for s in signed.signatures for h in (s[:32], s[32:])]
        values = (terms_tuple(terms), halves, size, margin, leverage_e2, limit)
        await self.wallet(role).tell(self.at.desk, calls.REQUEST_OPEN, *values)

    async def let_execute(self) -> int:
        """Let three seconds pass, post the price that requests wait for, let the daemon execute."""
        await self._price_for_waiting()
        turn = await self.stage.keep()
        return sum(isinstance(each.outcome, Effective) for each in turn.done)

    async def execute_waiting(self) -> int:
        """Do the same by hand, as anybody may, and meet what the contract says."""
        await self._price_for_waiting()
        watch = RequestWatch(self.stage.daemon.endpoint, self.at.desk)
        requests = await watch.waiting(await self.stage.now_ms())
        for request in requests:
            (body,) = decode([REQUEST_TYPES], request.body)
            await self.wallet("keeper").tell(self.at.desk, calls.EXECUTE, body)
        return len(requests)

    async def _price_for_waiting(self) -> None:
        await self.stage.pass_to(await self.stage.now_ms() + 3_000)
        await self.stage.tick()

    async def open(
        self, role: str, wish: Wish, symbol: str, notional: int, terms: tuple[int, int]
    ) -> dict[str, Any]:
        """Open a position worth about `notional`; `terms` are margin and leverage."""
        margin, leverage_e2 = terms
        signed = await self.terms(wish)
        if isinstance(signed, NoQuorum):
            reasons = "; ".join(f"{n}: {r.reason} {r.field}" for n, r in signed.refusals.items())
            raise OpeningRefused(reasons)
        size = notional * 10**30 // await self.price(symbol)
        await self.request_open(role, signed, size, margin, leverage_e2)
        if await self.let_execute() != 1:
            raise OpeningRefused("the daemon did not execute the request")
        return await self.position(role, symbol, wish.mode)

    def wish(self, role: str, symbol: str, side: Side, mode: MarginMode, notional: int) -> Wish:
        """Say what somebody wants terms for."""
        return Wish(
            account=self.wallet(role).address,
            market=self.market(symbol),
            side=side,
            mode=mode,
            adjustment=Adjustment.MANAGED,
            max_notional=UsdcE6(2 * notional),
            leverage_e2=LeverageE2(200),
        )


def terms_tuple(terms: PositionTerms) -> tuple[Any, ...]:
    """Give terms as the ABI takes them."""
    values = [getattr(terms, name) for name in PositionTerms.__slots__]
    return tuple(int(value) if isinstance(value, int) else value for value in values)


def usdc(amount: int) -> str:
    """Write an amount for people."""
    return f"{amount / USDC:,.2f} USDC"


async def refused_with(call: Any) -> Refusal | None:  # noqa: ANN401 - any call of a contract
    """Await a call that a contract must refuse, and name the guard; None if it passed."""
    try:
        await call
    except Reverted as refused:
        return None if refused.code is None else Refusal(refused.code)
    return None


def price_of_liquidation(held: dict[str, Any], collateral: int) -> str:
    """Give the exact price at which a position alone could be liquidated, for people."""
    found = liquidation_price(
        held["side"], held["size"], held["entry_price"], UsdcE6(collateral), held["ratio_ppm"]
    )
    return "none" if found is None else f"{found / E18:,.2f}"
