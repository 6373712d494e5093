"""What an update asks of open positions, as a signer counts it: own books, budget and releases.

The daemon's count is not asked for. An item beyond the budget is written down at the signer, with a
number, and goes once an operator has approved it here as well: a daemon cannot release anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from agent.approvals import impact_from
from agent.impact import (
    Exposure,
    ImpactSettings,
    NoEngine,
    applied,
    least_ramp_s,
    live_of,
    said_of,
    used_of,
)
from agent.ports import Exposures, HeldRecords
from agent.snapshot import Limits
from agent.weighing import grown_by
from contracts.book import Refused
from contracts.impact import Impact, impact_of, rising
from contracts.messages import RiskUpdate
from contracts.packing import MarketParameters, PackingError, unpack_risk_word
from contracts.refusals import Refusal
from contracts.risk_oracle import MarketState
from contracts.units import MS_PER_S, PPM, MarketId, Ppm, UsdcE6
from relayer.held import Ended, HeldDecision
from relayer.signing.values import OwnImpact, OwnStep

AT_MOST_EVERY_MS: Final = 10_000
ANOTHER: Final = "something else is proposed by now"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """A signer's own budget, how near is near enough, and how long what passed counts as one."""

    settings: ImpactSettings
    tolerance_ppm: int
    together_s: int
    symbols: Mapping[MarketId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One market's item that asks open positions for more."""

    parameters: MarketParameters
    word: int
    state: MarketState
    end_ppm: Ppm
    notice_s: int


class OwnBudget:
    """Counts each update, and remembers what passed, so that many small ones are one cycle's."""

    def __init__(self, exposures: Exposures, held: HeldRecords, rules: BudgetRules) -> None:
        self._exposures = exposures
        self._held = held
        self._rules = rules
        self._passed: dict[MarketId, tuple[Ppm, int]] = {}

    async def counted(self, update: RiskUpdate, limits: Limits, now_ms: int) -> OwnImpact:
        """Count an update from the live values that the signer reads itself."""
        items = items_of(update, limits)
        self._forget(now_ms)
        beside = {market: end for market, (end, _) in self._passed.items() if market not in items}
        seen = await self._exposures.look(sorted({*items, *beside} if items else ()))
        if not items or isinstance(seen, NoEngine):
            return OwnImpact()
        if not isinstance(seen, Exposure):
            return OwnImpact(unknown=seen.detail)
        try:
            return await self._weighed(items, beside, seen, now_ms)
        except Refused as fault:  # somebody stands in a market of which nothing was read
            return OwnImpact(unknown=str(fault))

    async def _weighed(
        self,
        items: Mapping[MarketId, Item],
        beside: Mapping[MarketId, Ppm],
        seen: Exposure,
        now_ms: int,
    ) -> OwnImpact:
        """Count each item alone and all together, beside what passed a moment ago."""
        settings, rows = self._rules.settings, await self._held.waiting()
        together = self._cost(seen, {**beside, **{m: each.end_ppm for m, each in items.items()}})
        together_ppm = used_of(together, settings.cycle, settings.share_from_usdc)
        counted = {m: self._cost(seen, {m: each.end_ppm}) for m, each in items.items()}
        steps = {
            market: self._step(item, counted[market], together_ppm, _release(rows, item, now_ms))
            for market, item in items.items()
        }
        own = OwnImpact(steps=steps, together_ppm=together_ppm)
        refused = [market for market in items if self._is_beyond(own, market)]
        if not refused and all(each.ramp_s >= each.least_ramp_s for each in steps.values()):
            self._passed |= {market: (item.end_ppm, now_ms) for market, item in items.items()}
        held = [self._row(items[m], counted[m], steps[m], now_ms) for m in refused]
        await self._write_down(held, rows, now_ms)
        return own

    def _step(
        self, item: Item, impact: Impact, together_ppm: int, release: HeldDecision | None
    ) -> OwnStep:
        settings, rules = self._rules.settings, self._rules
        used = used_of(impact, settings.market, settings.share_from_usdc)
        near_enough = max(used, together_ppm) * PPM // (PPM + rules.tolerance_ppm)
        released = release is not None and not grown_by(
            _widened(impact_from(release.impact), rules.tolerance_ppm), impact, 0
        )
        return OwnStep(
            used_ppm=used,
            ramp_s=max(item.parameters.ramp_s, item.notice_s),
            least_ramp_s=least_ramp_s(item.notice_s, near_enough, settings),
            detail=said_of(impact, used, settings),
            released=released,
        )

    def _is_beyond(self, own: OwnImpact, market: MarketId) -> bool:
        step = own.steps[market]
        used = max(step.used_ppm, own.together_ppm)
        return not step.released and used > PPM + self._rules.tolerance_ppm

    def _cost(self, seen: Exposure, ends: Mapping[MarketId, Ppm]) -> Impact:
        return impact_of(seen.book, seen.readings, ends, Ppm(self._rules.settings.near_ppm))

    def _forget(self, now_ms: int) -> None:
        since_ms = now_ms - self._rules.together_s * MS_PER_S
        self._passed = {m: each for m, each in self._passed.items() if each[1] >= since_ms}

    def _row(self, item: Item, impact: Impact, step: OwnStep, now_ms: int) -> HeldDecision:
        market = item.parameters.market
        return HeldDecision(
            market=market,
            symbol=self._rules.symbols.get(market, str(market)),
            word=item.word,
            live=live_of(item.state),
            impact=asdict(impact),
            detail=f"proposed: cap to {item.parameters.cap_e2 / 100:.2f}x, maintenance of managed "
            f"positions ramped to {item.end_ppm / 10_000:.3f} % over {step.ramp_s} s: "
            f"{step.detail}",
            held_at_ms=now_ms,
            expires_at_ms=now_ms + self._rules.settings.approval_s * MS_PER_S,
        )

    async def _write_down(
        self, refused: Sequence[HeldDecision], rows: Sequence[HeldDecision], now_ms: int
    ) -> None:
        """Keep what was refused for an operator; one row a market waits, and not for ever."""
        ended = [
            Ended(number=row.number, state="expired", reason="nobody proposed it in time")
            for row in rows
            if row.expires_at_ms < now_ms
        ]
        new = []
        for each in refused:
            mine = [r for r in rows if r.market == each.market and r.expires_at_ms >= now_ms]
            same = any((r.word, r.live) == (each.word, each.live) for r in mine)
            waiting = [row for row in mine if row.state == "awaiting"]
            # A proposer that changes its mind each second must not fill the disk.
            lately = any(now_ms - row.held_at_ms < AT_MOST_EVERY_MS for row in waiting)
            if same or lately:
                continue
            new.append(each)
            ended += [Ended(number=r.number, state="void", reason=ANOTHER) for r in waiting]
        if new or ended:
            await self._held.settle(new, ended, now_ms)


def items_of(update: RiskUpdate, limits: Limits) -> dict[MarketId, Item]:
    """Give an update's items that ask open positions for more; what is unsound is not of these."""
    validity_s = (update.valid_until_ms - update.observed_at_ms) // MS_PER_S
    found = {}
    for word in update.words:
        try:
            parameters = unpack_risk_word(word)
        except PackingError:
            continue
        if parameters.market >= len(limits.states):
            continue
        state = limits.states[parameters.market]
        after = applied(word, state, limits, (update.observed_at_ms, validity_s))
        end = None if isinstance(after, Refusal) else rising(state, after)
        if end is not None:
            notice_s = limits.bounds[state.class_id].notice_s
            found[parameters.market] = Item(
                parameters=parameters, word=word, state=state, end_ppm=end, notice_s=notice_s
            )
    return found


def _release(rows: Sequence[HeldDecision], item: Item, now_ms: int) -> HeldDecision | None:
    """Find what an operator approved here of exactly this item, on exactly these live values."""
    wanted = (item.parameters.market, item.word, live_of(item.state))
    for row in rows:
        timely = row.state == "approved" and row.expires_at_ms >= now_ms
        if timely and (row.market, row.word, row.live) == wanted:
            return row
    return None


def _widened(impact: Impact, tolerance_ppm: int) -> Impact:
    """Give what an approval still covers: counted again later, at prices of then."""

    def more(count: int) -> int:
        return count * (PPM + tolerance_ppm) // PPM

    return replace(
        impact,
        accounts=more(impact.accounts),
        liquidatable=more(impact.liquidatable),
        notional=UsdcE6(more(impact.notional)),
    )
