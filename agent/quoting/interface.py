"""The agent as HTTP sees it: the terms desk, the journal and the evidence behind one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from agent.positions.warn_turn import Warner
from agent.proof.limits import LiveLimits, live_limits
from agent.quoting.answers import account_of, ask_of, offered, refused, simulated, supposed_of
from agent.quoting.desk import Signed, TermsDesk
from agent.quoting.offer import Footing
from agent.quoting.passing import nearest
from agent.quoting.simulation import Prices, simulate
from agent.quoting.warnings import changes, standing
from agent.standing import market_standing
from contracts.book_readings import Readings
from contracts.fields import checksummed
from contracts.units import LawError, MarketId, PriceE18, UnixMs, UnixS, UsdcE6, seconds_floor
from relayer.chain.reads import ChainState
from relayer.errors import EvidenceMissing
from relayer.evidence import EvidenceStore
from relayer.http import schemas
from relayer.http.port import NotGiven
from relayer.journal import DecisionEntry, Journal

NOBODY = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceRules:
    """When the agent calls itself unwell."""

    judged_within_s: int = 600


class Interface:
    """The `AgentPort`: what it reads is one block's, what it signs is the quorum's."""

    def __init__(
        self,
        desk: TermsDesk,
        records: tuple[Journal, EvidenceStore],
        rules: InterfaceRules,
        warner: Warner | None = None,
    ) -> None:
        self._desk = desk
        self._journal, self._evidence = records
        self._warner = warner
        self._rules = rules

    async def markets(self) -> schemas.Markets:
        """Give all markets at one block."""
        state, now_ms = await self._now()
        footing = await self._desk.footing(NOBODY, tuple(self._desk.symbols))
        rows = tuple(
            _market_row(market, symbol, (state, footing), seconds_floor(now_ms))
            for market, symbol in self._desk.symbols.items()
        )
        return schemas.Markets(block_number=state.block_number, at_ms=now_ms, markets=rows)

    async def limits(self) -> schemas.Limits:
        """Give what may be decided now, and how far."""
        state, now_ms = await self._now()
        limits = live_limits(state.oracle, seconds_floor(now_ms))
        return limits_answer(limits, self._desk.symbols, (state.block_number, now_ms))

    async def quote(self, asked: schemas.QuoteRequest) -> schemas.QuoteAnswer | NotGiven:
        """Offer signed terms, or say why not."""
        market = self._market(asked.market)
        if isinstance(market, NotGiven):
            return market
        answer = await self._desk.terms(ask_of(asked, market, self._desk.default_mode))
        if isinstance(answer, Signed):
            return offered(answer.offer, answer)
        return refused(answer)

    async def simulate(self, asked: schemas.SimulateRequest) -> schemas.SimulateAnswer | NotGiven:
        """Follow a hypothetical book along hypothetical prices."""
        names = {each.market for each in asked.positions}
        names |= {symbol for step in asked.path for symbol in step.prices_e18}
        found = {name: self._market(name) for name in sorted(names)}
        markets: dict[str, MarketId] = {}
        for name, market in found.items():
            if isinstance(market, NotGiven):
                return market
            markets[name] = market
        state, now_ms = await self._now()
        readings = self._desk.readings(state, now_ms)
        try:
            return _simulated(asked, markets, readings, self._desk.symbols)
        except LawError as fault:
            return NotGiven(reason="out_of_range", field="positions", detail=str(fault))

    async def account(self, address: str) -> schemas.AccountAnswer | NotGiven:
        """Give an account's positions and what is known of it."""
        account = checksummed(address.lower())
        footing = await self._desk.footing(account, tuple(self._desk.symbols))
        footing = replace(footing, profile=self._desk.profile_of(account, footing.now_ms))
        state, _ = await self._now()
        chances = self._desk.chances(footing)
        return account_of(account, footing, state.block_number, chances)

    async def warnings(self, account: str | None, limit: int) -> schemas.Warnings:
        """Give the warnings that stand."""
        return standing(self._warner, account, limit, self._desk.symbols)

    def warned(self) -> AsyncGenerator[schemas.WarningRow, None]:
        """Give each change of the warnings as it is made."""
        return changes(self._warner, self._desk.symbols)

    async def decisions(self, limit: int) -> schemas.Decisions:
        """Give the newest decisions."""
        entries = await self._journal.recent_decisions(limit)
        return schemas.Decisions(decisions=tuple(_decision(each) for each in entries))

    async def evidence(self, digest: bytes) -> bytes | None:
        """Give a bundle as it is stored."""
        try:
            return await asyncio.to_thread(self._evidence.get_bundle, digest)
        except EvidenceMissing:
            return None

    async def alive(self) -> schemas.Health:
        """Tell whether cycles end."""
        now_ms = await self._desk.now_ms()
        age_s = (now_ms - self._desk.assessment.as_of_ms) // 1_000
        if self._desk.assessment.as_of_ms and age_s > self._rules.judged_within_s:
            return schemas.Health(ok=False, faults=(f"the last cycle ended {age_s} s ago",))
        return schemas.Health(ok=True)

    async def ready(self) -> schemas.Health:
        """Tell whether terms could be given now."""
        state, now_ms = await self._now()
        readings = self._desk.readings(state, now_ms)
        faults = []
        if not self._desk.assessment.as_of_ms:
            faults.append("nothing has been judged yet")
        if not any(each.mark.new_risk for each in readings.markets.values()):
            faults.append("no market has a price that may carry new risk")
        alive = await self.alive()
        faults.extend(alive.faults)
        return schemas.Health(ok=not faults, faults=tuple(faults))

    async def _now(self) -> tuple[ChainState, UnixMs]:
        return await self._desk.state(), UnixMs(await self._desk.now_ms())

    def _market(self, name: str) -> MarketId | NotGiven:
        """Find a market by its symbol; one that is not there is answered with the nearest."""
        ids = {symbol: market for market, symbol in self._desk.symbols.items()}
        if name.upper() in ids:
            return ids[name.upper()]
        detail = f"no market is called {name}; {nearest(name, tuple(ids))}"
        return NotGiven(reason="unknown_market", field="market", detail=detail)


def _market_row(
    market: MarketId, symbol: str, at: tuple[ChainState, Footing], now_s: UnixS
) -> schemas.MarketRow:
    state, footing = at
    now = market_standing(symbol, market, (state.feed, state.oracle), now_s)
    book = footing.book.markets.get(market)
    return schemas.MarketRow(
        market=market,
        symbol=symbol,
        class_id=state.oracle.markets[market].class_id,
        price_e18=str(now.price_e18),
        confidence_ppm=now.confidence_ppm,
        price_age_s=now.price_age_s,
        opens=now.opens,
        why_not="" if now.opens else now.why_not,
        cap_e2=now.cap_e2,
        maintenance_ppm=now.maintenance_ppm,
        open_interest_cap_usdc=str(now.open_interest_cap_usdc),
        long_e18=str(book.long.size if book else 0),
        short_e18=str(book.short.size if book else 0),
        expires_in_s=now.expires_in_s,
    )


def limits_answer(
    limits: LiveLimits, symbols: Mapping[MarketId, str], at: tuple[int, UnixMs]
) -> schemas.Limits:
    """Write what may be decided."""
    block_number, at_ms = at
    return schemas.Limits(
        block_number=block_number,
        at_ms=at_ms,
        decisions={kind: refusal is None for kind, refusal in limits.decisions.items()},
        paused_until_s=dict(limits.paused_until_s),
        markets=tuple(
            schemas.LimitRow(
                market=each.market,
                symbol=symbols.get(each.market, str(each.market)),
                live=each.live,
                why_not=each.why_not,
                cap_e2=each.cap_e2,
                lowest_cap_e2=each.bounds.min_cap_e2,
                highest_cap_e2=each.bounds.max_cap_e2,
                tighter_to_e2=each.tighter_to_e2,
                looser_to_e2=each.looser_to_e2,
                looser_at_s=each.looser_at_s,
                drift_left_ppm=each.drift_left_ppm,
                maintenance_ppm=each.maintenance_ppm,
                ramp_ends_s=each.ramp_ends_s,
                expires_at_s=each.expires_at_s,
            )
            for each in limits.markets
        ),
    )


def _simulated(
    asked: schemas.SimulateRequest,
    markets: Mapping[str, MarketId],
    readings: Readings,
    symbols: Mapping[MarketId, str],
) -> schemas.SimulateAnswer | NotGiven:
    """Value the book now, and after each step; a market left out stays where it was."""
    limits = {each: readings.markets[market].limits for each, market in markets.items()}
    positions = tuple(
        supposed_of(
            each,
            markets[each.market],
            (limits[each.market].target_maintenance_ppm, limits[each.market].profit_share_ppm),
        )
        for each in asked.positions
    )
    prices: Prices = {market: readings.markets[market].mark.price for market in markets.values()}
    path = [prices]
    for step in asked.path:
        moved = {markets[each]: PriceE18(int(p)) for each, p in step.prices_e18.items()}
        path.append({**path[-1], **moved})
    if not all(path[0].values()):
        return NotGiven(reason="price_not_ready", field="market", detail="it has no price yet")
    return simulated(simulate(UsdcE6(int(asked.balance_e6)), positions, path), symbols)


def _decision(entry: DecisionEntry) -> schemas.DecisionRow:
    return schemas.DecisionRow(
        kind=entry.kind,
        round=entry.round,
        decided_at_ms=entry.decided_at_ms,
        state=entry.state,
        message_hash="0x" + entry.message_hash.hex(),
        evidence_hash="0x" + entry.evidence_hash.hex(),
        model_hash=None if entry.model_hash is None else "0x" + entry.model_hash.hex(),
        tx_hash=None if entry.tx_hash is None else "0x" + entry.tx_hash.hex(),
        block_number=entry.block_number,
        reason=entry.reason,
    )
