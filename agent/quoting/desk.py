"""Where terms are asked for: chain and judgement at one instant, the offer, its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent.cycle import CycleResult
from agent.ports import Attestation, Clock, Evidence
from agent.proof.books import encode_book, encode_readings
from agent.proof.hours import encode_hours
from agent.proof.record import encode_scores, shallow
from agent.quoting.assessment import NOT_JUDGED, Assessment, assessment_of
from agent.quoting.history import ITSELF, Profile, profile_of, trades_from
from agent.quoting.joint import cross_account, cross_markets
from agent.quoting.offer import Footing, NoOffer, Offer, quote
from agent.quoting.risk import TOGETHER, Chances, Forecasts, Held, chances_of
from agent.quoting.rules import DEFAULTS, QuoteSettings
from agent.quoting.trial import Ask
from agent.world import domain_of
from contracts.book_margin import standing
from contracts.book_readings import Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import (
    CROSS,
    split_position_id,
)
from contracts.impact import readings_in
from contracts.messages import PositionTerms
from contracts.units import MarketId, UnixMs, UnixS, seconds_floor
from models.accounts import AccountRisk, AccountScore, account_table
from models.population import Trades
from models.risk_heads import CrossMarkets, RiskHeads
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin_book import read_margin_book, readings_of
from relayer.chain.reads import ChainState, read_chain
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment
from relayer.evidence import pack
from relayer.signing.values import NoQuorum, Proposal, SignedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskPorts:
    """What the desk asks of the world."""

    endpoint: ChainEndpoint
    deployment: Deployment
    clock: Clock
    quorum: Attestation
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The model in service, as far as terms read it."""

    model_hash: bytes
    forecasts: Forecasts = field(default_factory=Forecasts)
    accounts: AccountRisk | None = None


def known_with(model_hash: bytes, risks: RiskHeads | None) -> Known:
    """Give what of a model terms read; a model without heads of risk has a hash only."""
    if risks is None:
        return Known(model_hash=model_hash)
    return Known(model_hash=model_hash, forecasts=Forecasts(heads=risks), accounts=risks.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An offer that the quorum signed: what its account takes to the desk."""

    offer: Offer
    message: SignedMessage


History = Callable[[str], Trades]
"""What an account did, by its address; in it the account is number 0."""


def no_history() -> Trades:
    """Give the history of somebody who never traded."""
    return trades_from(())


class LatestJudgement:
    """What the last cycle of this process concluded."""

    def __init__(self, assessment: Assessment = NOT_JUDGED) -> None:
        self.assessment = assessment
        self.model_hash = b""
        self.served: Known | None = None
        self.markets: CrossMarkets | None = None

    def take(self, result: CycleResult) -> None:
        """Keep a cycle's judgement in place of the one before."""
        self.model_hash = result.model_hash
        if result.learned is not None:  # the registry may have put another model in charge
            self.served = known_with(result.model_hash, result.learned.risks)
        seen = result.observation
        self.markets = cross_markets(seen.histories, result.judgement, seen.as_of_ms)
        self.assessment = assessment_of(result.judgement, result.observation.as_of_ms)


class TermsDesk:
    """Answers wishes; holds nothing but the last block that it read."""

    def __init__(
        self,
        ports: DeskPorts,
        known: Known,
        judged: LatestJudgement,
        settings: QuoteSettings = DEFAULTS,
        history: History | None = None,
    ) -> None:
        self._ports = ports
        self._known = known
        self._judged = judged
        self._settings = settings
        self._history = history
        self._state: ChainState | None = None

    def retune(self, settings: QuoteSettings) -> None:
        """Offer terms by other settings from the next wish on."""
        self._settings = settings

    @property
    def default_mode(self) -> Literal["isolated", "cross"]:
        """Margin mode of who names none."""
        return self._settings.default_mode

    @property
    def model(self) -> Known:
        """The model that decided the last cycle; before one, that of the start."""
        return self._judged.served or self._known

    @property
    def symbols(self) -> Mapping[MarketId, str]:
        """The markets' names."""
        return {each.market: each.symbol for each in self._ports.deployment.markets}

    async def footing(self, account: str, markets: Sequence[MarketId]) -> Footing:
        """Read what an answer to one account stands on, at one block."""
        ports = self._ports
        block = await ports.endpoint.block("latest")
        state = await self._state_at(block)
        book = await read_margin_book(ports.endpoint, ports.deployment, block, account, markets)
        now_ms = await ports.clock.now_ms()
        return Footing(
            book=book,
            readings=self.readings(state, now_ms),
            symbols=self.symbols,
            assessment=self._judged.assessment,
            now_ms=now_ms,
            model_hash=self._judged.model_hash or self._known.model_hash,
            forecasts=replace(self.model.forecasts, markets=self._judged.markets),
            score=self.score_of(account, now_ms),
            settings=self._settings,
        )

    async def state(self) -> ChainState:
        """Read feed and oracle; once a block."""
        return await self._state_at(await self._ports.endpoint.block("latest"))

    async def _state_at(self, block: BlockStamp) -> ChainState:
        """Read feed and oracle as they stand in a block, unless that was the last one read."""
        if self._state is None or self._state.block_hash != block.block_hash:
            self._state = await read_chain(
                self._ports.endpoint, self._ports.deployment, block.number
            )
        return self._state

    def score_of(self, account: str, now_ms: int) -> AccountScore | None:
        """Judge an account by its own history; one without gets the prior."""
        accounts = self.model.accounts
        if accounts is None:
            return None
        (score,) = accounts.score(account_table(self._past(account), ITSELF, now_ms))
        return score

    def profile_of(self, account: str, now_ms: int) -> Profile | None:
        """Say what an account's score rests on; None where no model judges accounts."""
        if self.model.accounts is None:
            return None
        return profile_of(self.model.accounts, self._past(account), now_ms)

    def _past(self, account: str) -> Trades:
        return no_history() if self._history is None else self._history(account)

    async def now_ms(self) -> int:
        """Give the clock's time."""
        return await self._ports.clock.now_ms()

    @property
    def assessment(self) -> Assessment:
        """What the last cycle concluded."""
        return self._judged.assessment

    def readings(self, state: ChainState, now_ms: int) -> Readings:
        """Give what feed and oracle say in a block of now."""
        return readings_of(state, UnixS(max(state.timestamp_s, seconds_floor(UnixMs(now_ms)))))

    def chances(self, footing: Footing) -> dict[int, Chances | None]:
        """Give each open position's probability of liquidation."""
        found: dict[int, Chances | None] = {}
        for identity, held in footing.book.positions.items():
            account, market, mode = split_position_id(identity)
            if not held.size:
                continue
            own = standing(footing.book, footing.readings, identity)
            fatal = position_liquidation_price(footing.book, footing.readings, identity)
            judged = footing.assessment.markets.get(market)
            several = mode == CROSS and len(footing.book.account(account).markets) > 1
            whole = cross_account(footing.book, footing.readings, account) if several else None
            scores = judged.scores if judged else None
            position = Held(standing=own, liquidation_price=fatal, account=whole)
            found[identity] = chances_of(position, scores, footing.forecasts)
        return found

    async def offer(self, ask: Ask) -> tuple[Offer | NoOffer, Footing]:
        """Offer terms at this instant; nothing is signed."""
        footing = await self.footing(ask.account, (ask.market,))
        return quote(ask, footing), footing

    async def terms(self, ask: Ask) -> Signed | NoOffer | NoQuorum:
        """Offer terms, keep what they are made of, and have them signed."""
        offer, footing = await self.offer(ask)
        if isinstance(offer, NoOffer):
            return offer
        evidence_hash, bundle = pack(evidence_of(offer, footing))
        await self._ports.evidence.keep(evidence_hash, bundle, {})
        terms = replace(offer.terms, evidence_hash=evidence_hash)
        state = await self.state()
        oracle = self._ports.deployment.risk_oracle
        domain = domain_of(state.chain_id, oracle, state.oracle.config)
        answer = await self._ports.quorum.collect(Proposal(message=terms, domain=domain))
        if isinstance(answer, NoQuorum):
            return answer
        return Signed(offer=replace(offer, terms=terms), message=answer)


def evidence_of(offer: Offer, footing: Footing) -> dict[str, Any]:
    """Write what terms were made of; words as the contracts return them, in hexadecimal."""
    ask, trial = offer.figures.ask, offer.figures.trial
    judged, chances = footing.assessment.markets[ask.market], offer.figures.risk.chances
    return {
        "kind": "terms",
        "as_of_ms": footing.now_ms,
        "ask": {name: _plain(value) for name, value in shallow(ask).items()},
        "symbol": offer.symbol,
        "book": encode_book(footing.book),
        "readings": encode_readings(readings_in(footing.readings, footing.book)),
        "judged_at_ms": footing.assessment.as_of_ms,
        "scores": encode_scores(judged.scores) if judged.scores else None,
        "account_score": shallow(footing.score) if footing.score else None,
        "settings": footing.settings.model_dump(mode="json"),
        "model_hash": footing.model_hash.hex(),
        "liquidation_price": _plain(trial.liquidation_price),
        "reasons": list(offer.figures.risk.reasons),
        "market_reasons": list(judged.reasons),
        "chance_method": chances.method if chances else None,
        "hours": _hours(offer, footing),
        "terms": plain_terms(offer.terms),
    }


def _hours(offer: Offer, footing: Footing) -> dict[str, Any] | None:
    """Write the month that the account was simulated over, where it was."""
    cross, figures = footing.forecasts.markets, offer.figures
    chances = figures.risk.chances
    if cross is None or chances is None or chances.method != TOGETHER:
        return None
    return encode_hours(cross, figures.trial.markets)


def plain_terms(terms: PositionTerms) -> dict[str, Any]:
    """Write terms field by field, without the hash of what they are written in."""
    values = {name: _plain(value) for name, value in shallow(terms).items()}
    del values["evidence_hash"]
    return {**values, "model_hash": terms.model_hash.hex()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field of any of the house's values
    """Write an integer as text: beyond 2^53 other readers of JSON would round it."""
    if isinstance(value, bool) or value is None:
        return value
    return str(int(value)) if isinstance(value, int) else value
