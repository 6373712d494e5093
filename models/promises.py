"""What a forecast promised and how it ended: the same measure as training's, on recorded bars.

A promise starts where a bar ends and runs for one horizon. What followed is measured in hourly
bars over 4 h and 24 h and in bars of five minutes over 15 min and 1 h, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.backtests import qlike
from models.bars import BarMatrix, aggregate, clean
from models.conformal import RULES, FactorRules, Factors, Outcome, learned
from models.dataset import FIVE_MINUTES_MS, HOUR_MS, PRESENT_SHARE
from models.features import Candles
from models.heads import HORIZONS_S
from models.scorer import HorizonTail, MarketFactors
from models.tails import LEVELS

FloatArray = NDArray[np.float64]

LEAD_BARS = 12
"""Bars before the start that cleaning may look at."""
LATE_MS = 300_000
"""A promise that could not start so soon after its instant is left out."""
SIDES = ("long", "short")
Combination = tuple[int, str, float]
"""Horizon in seconds, side, level."""
COMBINATIONS: tuple[Combination, ...] = tuple(
    (horizon_s, side, level) for horizon_s in HORIZONS_S for side in SIDES for level in LEVELS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One market's forecast over one horizon, as it was served.

    Attributes
    ----------
    market : int
    from_ms : int
        Where the horizon begins: the end of the last bar that was known.
    deviation : float
        Forecast deviation of the log return.
    tail : HorizonTail
        The served quantiles, factor included.
    """

    market: int
    from_ms: int
    deviation: float
    tail: HorizonTail

    @property
    def horizon_s(self) -> int:
        """Return the horizon."""
        return self.tail.horizon_s

    @property
    def ends_ms(self) -> int:
        """Return when the horizon ends."""
        return self.from_ms + self.horizon_s * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What followed a promise: realised variance, and excursions as logarithms (at least 0)."""

    promise: Promise
    variance: float
    fall: float
    rise: float

    @property
    def loss(self) -> float:
        """Return the QLIKE of the forecast variance."""
        variance = np.array([self.variance])
        return float(qlike(variance, np.array([self.promise.deviation**2]))[0])

    def breached(self, side: str, level: float) -> bool:
        """Whether a side ran beyond its quantile."""
        tail = self.promise.tail
        if side == "long":
            quantile = tail.long_990 if level == LEVELS[0] else tail.long_995
            return bool(-np.expm1(-self.fall) > quantile)
        quantile = tail.short_990 if level == LEVELS[0] else tail.short_995
        return bool(np.expm1(self.rise) > quantile)


def bar_ms_of(horizon_s: int) -> int:
    """Return the bars in which what followed is measured."""
    return FIVE_MINUTES_MS if horizon_s <= HOUR_MS // 1_000 else HOUR_MS


def start_of(horizon_s: int, as_of_ms: int, candles: Candles) -> int | None:
    """Return where a promise made now begins, or None where this is no instant to begin one."""
    if not len(candles):
        return None
    known_ms = int(candles.open_ms[-1]) + candles.bar_ms
    bar_ms = bar_ms_of(horizon_s)
    from_ms = known_ms - known_ms % bar_ms
    if from_ms % (horizon_s * 1_000) or as_of_ms - from_ms > LATE_MS + bar_ms // 12:
        return None
    return from_ms


def is_over(promise: Promise, candles: Candles) -> bool:
    """Whether the bars of the whole horizon are there."""
    return bool(len(candles)) and int(candles.open_ms[-1]) + candles.bar_ms >= promise.ends_ms


def ending_of(promise: Promise, candles: Candles) -> Ending | None:
    """Measure what followed; None where too little of it was traded to say."""
    bar_ms = bar_ms_of(promise.horizon_s)
    steps = promise.horizon_s * 1_000 // bar_ms
    bars = _grid(candles, promise.from_ms - LEAD_BARS * bar_ms, promise.ends_ms)
    if bar_ms != candles.bar_ms:
        bars = aggregate(bars, bar_ms // candles.bar_ms)
    cleaned = clean(bars)
    if cleaned.present[0, -steps:].mean() < PRESENT_SHARE:
        return None
    start = float(cleaned.close[0, -steps - 1])
    return Ending(
        promise=promise,
        variance=float(np.square(cleaned.returns[0, -steps:]).sum()),
        fall=max(start - float(cleaned.low[0, -steps:].min()), 0.0),
        rise=max(float(cleaned.high[0, -steps:].max()) - start, 0.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorState:
    """All online factors of one model, and when each horizon was last judged."""

    factors: Mapping[Combination, Factors]
    judged_ms: Mapping[int, int]

    def of_market(self, market: int) -> MarketFactors | None:
        """Return one market's factors; None where nothing has been learned at all."""
        if not any(each.logs for each in self.factors.values()):
            return None
        pairs = {
            side: tuple(
                tuple(self._factor(horizon_s, side, level, market) for level in LEVELS)
                for horizon_s in HORIZONS_S
            )
            for side in SIDES
        }
        return MarketFactors(long=_pairs(pairs["long"]), short=_pairs(pairs["short"]))

    def _factor(self, horizon_s: int, side: str, level: float, market: int) -> float:
        known = self.factors.get((horizon_s, side, level))
        if known is None:
            return 1.0
        # the exponential of a bound's logarithm may lie a bit beyond the bound
        return min(max(known.factor(name_of(market)), RULES.low), RULES.high)


NOTHING_LEARNED = FactorState(factors={}, judged_ms={})


def name_of(market: int) -> str:
    """Name a market so that names sort as ids do: pooled means add up in one order."""
    return f"{market:06}"


def after(
    state: FactorState, endings: Sequence[Ending], at_ms: int, rules: FactorRules = RULES
) -> FactorState:
    """Return the factors after some promises have ended; their order does not matter.

    Promises of a market follow one another without overlap, so each counts in full; what is
    forgotten meanwhile goes by the time since the horizon was last judged.
    """
    factors, judged_ms = dict(state.factors), dict(state.judged_ms)
    for horizon_s in HORIZONS_S:
        ended = [each for each in endings if each.promise.horizon_s == horizon_s]
        if not ended:
            continue
        ended.sort(key=lambda each: (each.promise.market, each.promise.from_ms))
        elapsed_ms = max(at_ms - judged_ms.get(horizon_s, at_ms), 0)
        for side in SIDES:
            for level in LEVELS:
                key = (horizon_s, side, level)
                outcomes = [
                    Outcome(
                        market=name_of(each.promise.market), breached=each.breached(side, level)
                    )
                    for each in ended
                ]
                factors[key] = learned(
                    factors.get(key, Factors(logs={})),
                    outcomes,
                    level=level,
                    elapsed_ms=elapsed_ms,
                    weight=1.0,
                    rules=rules,
                )
        judged_ms[horizon_s] = at_ms
    return FactorState(factors=factors, judged_ms=judged_ms)


def _grid(candles: Candles, first_ms: int, end_ms: int) -> BarMatrix:
    """Lay the bars of [first, end) on a full grid, shape (1, bars)."""
    low, high = np.searchsorted(candles.open_ms, (first_ms, end_ms))
    place = (candles.open_ms[low:high] - first_ms) // candles.bar_ms
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        column = np.full((1, (end_ms - first_ms) // candles.bar_ms), np.nan)
        column[0, place] = getattr(candles, name)[low:high]
        columns[name] = column
    return BarMatrix(**columns)


def _pairs(values: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, float], ...]:
    return tuple((pair[0], pair[1]) for pair in values)


def state_of(state: FactorState) -> dict[str, list[list[int | str | float]]]:
    """Write factors as JSON values; floats come back to the bit."""
    return {
        "factors": [
            [horizon_s, side, level, market, log]
            for (horizon_s, side, level), factors in sorted(state.factors.items())
            for market, log in sorted(factors.logs.items())
        ],
        "judged_ms": [[horizon_s, at_ms] for horizon_s, at_ms in sorted(state.judged_ms.items())],
    }


def state_from(content: Mapping[str, Sequence[Sequence[Any]]]) -> FactorState:
    """Read factors back."""
    logs: dict[Combination, dict[str, float]] = {}
    for horizon_s, side, level, market, log in content["factors"]:
        logs.setdefault((int(horizon_s), str(side), float(level)), {})[str(market)] = float(log)
    return FactorState(
        factors={key: Factors(logs=own) for key, own in logs.items()},
        judged_ms={int(horizon_s): int(at_ms) for horizon_s, at_ms in content["judged_ms"]},
    )
