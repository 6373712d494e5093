"""What the loops tell Prometheus and the log about each turn; one place, so that both agree."""

from __future__ import annotations

import math
from collections.abc import Iterable

import structlog

from agent.cycle import CycleResult
from agent.impact_telemetry import ImpactTelemetry
from agent.model_telemetry import ModelTelemetry
from agent.posting import Kind, Posting
from agent.prices import TickResult
from agent.snapshot import Limits, Observation, marks_of
from contracts.messages import PriceRound, RiskUpdate
from contracts.packing import unpack_price_words, unpack_risk_word
from contracts.risk_oracle import effective_maintenance_ppm
from contracts.units import PPM, MarketId
from models.promises import SIDES, Ending
from models.tails import LEVELS
from relayer.delivery.states import Effective
from relayer.journal import CycleEntry, TurnKind
from relayer.labelled import aging
from relayer.market.health import venue_health
from relayer.metrics import Metrics

MS = 1_000


class Telemetry:
    """Counts and logs turns; `symbols` name the markets in market-id order."""

    def __init__(self, metrics: Metrics, symbols: tuple[str, ...]) -> None:
        self._metrics = metrics
        self._symbols = symbols
        self._log = structlog.get_logger("aml")
        self._impact = ImpactTelemetry(metrics, symbols)
        self._models = ModelTelemetry(metrics)
        self._noticed: dict[Kind, set[str]] = {"price": set(), "risk": set()}

    def cycle(self, result: CycleResult) -> None:
        """Report one risk cycle."""
        self._metrics.cycles[result.entry.result].inc()
        self._stages(result)
        self._limits(result.observation.limits)
        self._venues(result.observation)
        self._notices(result.observation.notices, "risk")
        self._posted("risk", result.postings, result.entry.finished_at_ms)
        if result.entry.result == "effective":
            took_ms = result.entry.finished_at_ms - result.entry.started_at_ms
            self._metrics.decision_latency_seconds.observe(took_ms / MS)
        self._learned(result)
        if result.weighing is not None:
            self._impact.weighed(result.weighing)
        self._turn(result.entry)  # last: whoever reads the line finds the metrics up to date

    def tick(self, result: TickResult) -> None:
        """Report one price tick; quiet ones are counted, not logged."""
        entry = result.entry
        self._prices(result)
        left_out = [venue for mark in result.marks.values() for venue in mark.excluded]
        for venue in left_out:
            self._metrics.venue_exclusions[venue].inc()
        self._notices(
            tuple(f"{venue} is left out of marks: too far off" for venue in left_out), "price"
        )
        self._posted("price", result.postings, entry.finished_at_ms)
        if result.postings:
            state = "effective" if entry.result == "effective" else "failed"
            self._metrics.price_rounds[state].inc()
            self._turn(entry)
        elif entry.holds:
            self._metrics.price_rounds["held"].inc()
            self._count_holds(entry)

    def _prices(self, result: TickResult) -> None:
        """Show every market's price and mark; where there is no mark nobody says how far it is."""
        self._metrics.onchain_round["price"].set(result.feed.round)
        shown, at_ms = self._metrics.markets, result.entry.started_at_ms
        listed = zip(self._symbols, result.feed.posted, strict=False)
        for market, (symbol, posted) in enumerate(listed):
            if posted is not None:
                aging(shown.price_age_seconds[symbol], (at_ms - posted.observed_at_ms) / MS)
            mark = result.marks.get(MarketId(market))
            shown.venues_number[symbol].set(0 if mark is None else len(mark.venues))
            dispersion = math.nan if mark is None else mark.confidence_ppm / PPM
            shown.dispersion_ratio[symbol].set(dispersion)

    def lagged(self, lag_s: float) -> None:
        """Report how much later than asked the loop woke up."""
        self._metrics.loop_lag_seconds.observe(lag_s)

    def cycles_late(self, event: str, count: int) -> None:
        """Report cycles that the scheduler missed, or periods that passed while one was running."""
        if count:
            self._metrics.scheduler_events[event].inc(count)
            self._log.warning("cycle_late", how=event, count=count)

    def fault(self, kind: TurnKind, reason: str, detail: str) -> None:
        """Report a turn that could not run."""
        self._log.warning("turn_held", kind=kind, reason=reason, detail=detail)
        self._metrics.holds[reason].inc()
        if kind == "risk":
            self._metrics.cycles["held"].inc()

    def _turn(self, entry: CycleEntry) -> None:
        """Log a turn that did something, and count its holds."""
        self._log.info(
            "turn_ended",
            kind=entry.kind,
            result=entry.result,
            round=entry.round,
            block=entry.block_number,
            holds=len(entry.holds),
        )
        for hold in entry.holds:
            self._log.info(
                "held", kind=entry.kind, market=hold.market, reason=hold.reason, detail=hold.detail
            )
        self._count_holds(entry)

    def _count_holds(self, entry: CycleEntry) -> None:
        for hold in entry.holds:
            self._metrics.holds[hold.reason].inc()

    def _stages(self, result: CycleResult) -> None:
        """Stamp each stage that the cycle came through."""
        at_s = result.observation.as_of_ms / MS
        done = {"observe": True, "score": any(j.scores for j in result.judgement.judged)}
        done["decide"] = bool(result.judgement.plans)
        done["sign"] = done["deliver"] = bool(result.postings) and result.entry.round is not None
        done["confirm"] = done["risk_cycle"] = result.entry.result == "effective"
        for stage in (name for name, passed in done.items() if passed):
            self._metrics.last_success_timestamp_seconds[stage].set(at_s)

    def _limits(self, limits: Limits) -> None:
        """Show what the oracle held when the cycle began."""
        shown = self._metrics.markets
        self._metrics.chain_block_number.set(limits.block_number)
        self._metrics.onchain_round["risk"].set(limits.round)
        for symbol, state in zip(self._symbols, limits.states, strict=False):
            age_s = limits.timestamp_s - state.observed_at_ms / MS
            aging(shown.decision_age_seconds[symbol], age_s)
            live = effective_maintenance_ppm(state, limits.timestamp_s, limits.controls)
            shown.leverage_cap_ratio[symbol].set(state.values.cap_e2 / 100)
            shown.maintenance_ratio[symbol].set(live / PPM)

    def _venues(self, seen: Observation) -> None:
        """Show what each venue counts for; one that was not heard of counts for nothing."""
        heard = {
            each.venue: each
            for each in venue_health(seen.quotes, marks_of(seen), int(seen.as_of_ms))
        }
        shown = self._metrics.venues
        for (venue,) in shown.weight_ratio:
            health = heard.get(venue)
            weight, used = (health.weight_ppm, health.used_ppm) if health else (0, 0)
            age_ms = None if health is None else health.age_ms
            shown.weight_ratio[venue].set(weight / PPM)
            shown.used_ratio[venue].set(used / PPM)
            shown.quote_age_seconds[venue].set(math.nan if age_ms is None else age_ms / MS)
        for fault in seen.quotes.faults:
            self._metrics.venue_faults[fault.venue, fault.reason].inc()
            self._log.warning(
                "venue_fault", venue=fault.venue, reason=fault.reason, detail=fault.detail
            )

    def _notices(self, notices: tuple[str, ...], kind: Kind) -> None:
        """Log what was missing when it changes: a fault that lasts for hours is one line."""
        for notice in sorted(set(notices) - self._noticed[kind]):
            self._log.warning("input_missing", kind=kind, detail=notice)
        self._noticed[kind] = set(notices)

    def _learned(self, result: CycleResult) -> None:
        """Count how forecasts ended, and say what the registry led to."""
        self._metrics.describe_model({"hash": "0x" + result.model_hash.hex()})
        learned = result.learned
        if learned is None:
            return
        for notice in learned.notices:
            self._log.warning("models", detail=notice)
        self._models.learned(learned, result.observation.as_of_ms)
        for role, endings in learned.endings.items():
            for each in endings:
                self._ending(role, each)

    def _ending(self, role: str, ending: Ending) -> None:
        """Count how one forecast ended."""
        horizon = str(ending.promise.horizon_s)
        self._metrics.forecast_outcomes[role, horizon].inc()
        self._metrics.forecast_loss[role, horizon].inc(ending.loss)
        for side in SIDES:
            if ending.breached(side, LEVELS[0]):
                self._metrics.forecast_breaches[role, horizon, side].inc()

    def _posted(self, kind: Kind, postings: Iterable[Posting], now_ms: int) -> None:
        """Show the rounds that took effect, and how old what they brought is now."""
        ages = self._metrics.markets.price_age_seconds
        if kind == "risk":
            ages = self._metrics.markets.decision_age_seconds
        for posting in postings:
            if not isinstance(posting.outcome, Effective):
                continue
            self._metrics.onchain_round[kind].set(posting.message.round)
            left_out = {item.market for item in posting.outcome.skipped}
            for market, observed_ms in _brought(posting.message).items():
                if market not in left_out and market < len(self._symbols):
                    aging(ages[self._symbols[market]], (now_ms - observed_ms) / MS)
            if kind == "price":
                stamp = posting.message.observed_at_ms / MS
                self._metrics.last_success_timestamp_seconds["price_round"].set(stamp)


def _brought(message: PriceRound | RiskUpdate) -> dict[MarketId, int]:
    """Give the markets of a message, and when each was observed."""
    at_ms = message.observed_at_ms
    if isinstance(message, RiskUpdate):
        return {unpack_risk_word(word).market: at_ms for word in message.words}
    return {each.market: each.observed_at_ms for each in unpack_price_words(message.words, at_ms)}
