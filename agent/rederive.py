"""What a signer would decide itself: its own venues, bars and model, held beside a proposal.

A proposal may be no looser than this, beyond the tolerances. Where the signer's own way is cut into
steps, as the contract asks, a way cut once more is near enough: two whose aims hardly differ may
come to different numbers of parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from agent.decisions import GuardedDecision, Hold
from agent.derive_settings import DeriveSettings
from agent.guard import guard
from agent.judge import InService, Judgement, Rules, judge
from agent.plan import SHARES, Move, Plan, parameters_of, plan, wanted
from agent.snapshot import Limits, MarketSnapshot, Observation, snapshot_of
from contracts.messages import RiskUpdate
from contracts.packing import MarketParameters
from contracts.risk_bounds import Values, looser
from contracts.units import LeverageE2, MarketId, Ppm, UnixMs, WholeUsdc
from relayer.errors import RelayerError


class Eyes(Protocol):
    """Where a signer looks: its own venues and bars, around a reading of its own endpoint."""

    async def observe(self, limits: Limits) -> Observation:
        """Take everything in at one instant."""
        ...


class Model(Protocol):
    """The model that a signer holds, and what outcomes have taught it."""

    async def now(self) -> InService:
        """Return what would decide now."""
        ...

    async def learn(self, observation: Observation, judgement: Judgement) -> object:
        """Learn from a look."""
        ...


class Untaught:
    """Another's model and factors, for signers in its process: read, and nothing taught twice."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def now(self) -> InService:
        """Return what would decide now."""
        return await self._model.now()

    async def learn(self, observation: Observation, judgement: Judgement) -> None:
        """Leave the lesson to whoever owns the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The loosest that a signer would allow, by market; why it cannot say of the others."""

    loosest: Mapping[MarketId, MarketParameters]
    unknown: Mapping[MarketId, str] = field(default_factory=dict)
    otherwise: str = ""  # why not, for markets that are in neither


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One look: what the signer decided, market by market, or why it could not."""

    as_of_ms: UnixMs
    model_hash: bytes
    decided: Mapping[MarketId, tuple[GuardedDecision, MarketSnapshot]]
    unknown: Mapping[MarketId, str]


class Outlook:
    """A signer's own decisions: one look serves all who ask within its age, also other signers."""

    def __init__(
        self,
        eyes: Eyes,
        model: Model,
        rules: Rules,
        settings: DeriveSettings,
    ) -> None:
        self._eyes = eyes
        self._model = model
        self._rules = rules
        self._settings = settings
        self._latest: Look | None = None
        self._looking: asyncio.Task[Look] | None = None

    async def derived(self, update: RiskUpdate, limits: Limits, now_ms: UnixMs) -> Derived:
        """Say what the signer would allow of an update at most; `limits` as it reads them now."""
        try:
            async with asyncio.timeout(self._settings.wait_s):
                look = await self._look(limits, now_ms)
        except TimeoutError:
            # It goes on, and serves the next who ask.
            return Derived(loosest={}, otherwise=f"no own look within {self._settings.wait_s:g} s")
        except RelayerError as fault:
            return Derived(loosest={}, otherwise=f"no own look: {fault}")
        if look.model_hash != update.model_hash:
            says = (
                f"model 0x{update.model_hash.hex()} is not the one here, 0x{look.model_hash.hex()}"
            )
            return Derived(loosest={}, otherwise=says)
        return _derived(look, update, limits, self._rules)

    async def _look(self, limits: Limits, now_ms: UnixMs) -> Look:
        """Give a look that is young enough: the last one, the one under way, or a new one."""
        latest = self._latest
        if latest is not None:
            age_ms = now_ms - latest.as_of_ms
            if 0 <= age_ms <= self._settings.look_max_age_s * 1_000:
                return latest
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._new_look(limits))
        return await asyncio.shield(self._looking)

    async def _new_look(self, limits: Limits) -> Look:
        observation = await self._eyes.observe(limits)
        served = await self._model.now()
        snapshot = snapshot_of(observation)
        judgement = judge(snapshot, served.scorer, self._rules, served.factors)
        await self._model.learn(observation, judgement)
        markets = {market.market: market for market in snapshot.markets}
        self._latest = _look_of(
            judgement, markets, served.model_hash, observation.as_of_ms, self._rules
        )
        return self._latest

    def begin(self, limits: Limits) -> None:
        """Begin a first look, so that who asks later need not wait for a back-fill."""
        self._looking = asyncio.create_task(self._new_look(limits))

    async def looked(self) -> None:
        """Wait until the look under way has ended, well or not."""
        if self._looking is not None:
            await asyncio.gather(asyncio.shield(self._looking), return_exceptions=True)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None and not self._looking.done():
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)


def _look_of(
    judgement: Judgement,
    markets: Mapping[MarketId, MarketSnapshot],
    model_hash: bytes,
    as_of_ms: UnixMs,
    rules: Rules,
) -> Look:
    """Keep of a judgement what a proposal is held against; plans are made anew for each."""
    decided: dict[MarketId, tuple[GuardedDecision, MarketSnapshot]] = {}
    unknown: dict[MarketId, str] = {}
    for each in judgement.judged:
        if each.decision is None:
            assert isinstance(each.outcome, Hold)
            unknown[each.market] = f"{each.outcome.reason}: {each.outcome.detail}"
            continue
        market = markets[each.market]
        guarded = guard(each.decision, market, rules.guard)
        if isinstance(guarded, Hold):
            unknown[each.market] = f"{guarded.reason}: {guarded.detail}"
        else:
            decided[each.market] = (guarded, market)
    return Look(as_of_ms=as_of_ms, model_hash=model_hash, decided=decided, unknown=unknown)


def _derived(look: Look, update: RiskUpdate, limits: Limits, rules: Rules) -> Derived:
    """Plan every decision of a look at the update's own instant, from the live values."""
    loosest: dict[MarketId, MarketParameters] = {}
    unknown = dict(look.unknown)
    for market, (guarded, seen) in look.decided.items():
        if market >= len(limits.states):
            unknown[market] = "is not on the oracle"
            continue
        moved = replace(guarded.decision, as_of_ms=update.observed_at_ms)
        at_market = replace(seen, state=limits.states[market])
        validity_s = (update.valid_until_ms - update.observed_at_ms) // 1_000
        outcome = plan(GuardedDecision(decision=moved), at_market, limits, validity_s, rules.plan)
        bounds = limits.bounds[at_market.state.class_id]
        target = wanted(GuardedDecision(decision=moved), bounds)
        loosest[market] = parameters_of(market, _loosest(outcome, target, at_market.state.values))
    return Derived(loosest=loosest, unknown=unknown)


def _loosest(outcome: Plan | Hold, target: Values, live: Values) -> Values:
    """Give of each field what the signer would still call its own decision."""
    if isinstance(outcome, Hold):
        return target
    found = outcome.parameters
    step = Values(
        cap_e2=found.cap_e2,
        open_interest_cap_usdc=found.open_interest_cap_usdc,
        size_scale_usdc=found.size_scale_usdc,
        spread_ppm=found.spread_ppm,
        reduce_only=found.reduce_only,
    )
    if outcome.move is Move.TIGHTEN:
        step = _cut_once_more(live, step, outcome.parts)
    return looser(target, step)


def _cut_once_more(live: Values, step: Values, parts: int) -> Values:
    """Give the first step of the same way in the next number of parts."""
    following = next((share for share in SHARES if share > parts), parts)

    def along(old: int, new: int) -> int:
        return old + (new - old) * parts // following

    return Values(
        cap_e2=LeverageE2(along(live.cap_e2, step.cap_e2)),
        open_interest_cap_usdc=WholeUsdc(
            along(live.open_interest_cap_usdc, step.open_interest_cap_usdc)
        ),
        size_scale_usdc=WholeUsdc(along(live.size_scale_usdc, step.size_scale_usdc)),
        spread_ppm=Ppm(along(live.spread_ppm, step.spread_ppm)),
        reduce_only=step.reduce_only,
    )
