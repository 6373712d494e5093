"""Valid values of the agent's world, small and seeded; each test changes what it is about."""

from __future__ import annotations

import numpy as np

from agent.policy import ClassPolicy, PolicySettings
from agent.snapshot import Feed, Limits, MarketHistory, MarketSnapshot, Observation
from agent.triggers import Posted
from contracts.halts import NO_CONTROLS
from contracts.messages import Domain
from contracts.packing import round_down_amount
from contracts.risk_bounds import ClassBounds, Values
from contracts.risk_oracle import MarketState
from contracts.units import MarketId, Ppm, PriceE18, UnixMs, UnixS, WholeUsdc
from models.features import BookDepth
from models.scorer import HORIZONS_S, HorizonTail, LiquidityScore, RiskScores
from relayer.market.aggregate import AggregationRules, Mark
from relayer.market.values import E18, CandleSeries, Quote, QuoteRound

NOW_MS = UnixMs(1_748_000_000_000 - 1_748_000_000_000 % 86_400_000 + 45_296_789)
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
BTC = MarketId(0)


def scores(market: int = 0, *, tail: float = 0.02, **changes: object) -> RiskScores:
    values: dict[str, object] = {
        "market": market,
        "as_of_ms": NOW_MS,
        "volatility": (0.004, 0.008, 0.016, 0.04),
        "tail_long": tail,
        "tail_short": tail * 0.9,
        "tails": tuple(
            HorizonTail(horizon_s=h, long_990=tail, long_995=tail, short_990=tail, short_995=tail)
            for h in HORIZONS_S
        ),
        "liquidity": LiquidityScore(
            slippage_ratio=(0.0001, 0.0005, 0.002, 0.01), stressed_depth_usdc=1_000_000.0
        ),
        "out_of_domain": (),
    }
    return RiskScores(**(values | changes))  # type: ignore[arg-type]


def policy(**changes: object) -> PolicySettings:
    majors = ClassPolicy(
        maintenance_floor_ratio=0.005, max_leverage=50, liquidation_notional_usdc=100_000
    )
    return PolicySettings(classes={"1": majors}, **changes)  # type: ignore[arg-type]


def mark(market: int = 0, *, price: float = 100.0, age_ms: int = 500) -> Mark:
    return Mark(
        market=MarketId(market),
        price_e18=PriceE18(int(price * 10**6) * 10**12),
        confidence_ppm=Ppm(100),
        observed_at_ms=UnixMs(NOW_MS - age_ms),
        venues=("a", "b", "c"),
        excluded=(),
    )


def posted(*, price: float = 100.0, age_ms: int = 10_000, unconfirmed: bool = False) -> Posted:
    return Posted(
        price_e18=PriceE18(int(price * 10**6) * 10**12),
        observed_at_ms=UnixMs(NOW_MS - age_ms),
        unconfirmed=unconfirmed,
    )


def candles(bar_ms: int, count: int, *, market: int = 0, seed: int = 7) -> CandleSeries:
    """Give `count` bars that end with the last one closed before now."""
    random = np.random.default_rng(seed)
    last = NOW_MS - NOW_MS % bar_ms
    open_ms = np.arange(last - count * bar_ms, last, bar_ms, dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.002, count)))
    opened = np.concatenate([[100.0], close[:-1]])[:count]
    wick = 1.0 + np.abs(random.normal(0.0, 0.001, count))
    return CandleSeries(
        market=MarketId(market),
        bar_ms=bar_ms,
        open_ms=open_ms,
        open=opened,
        high=np.maximum(opened, close) * wick,
        low=np.minimum(opened, close) / wick,
        close=close,
        volume=random.uniform(10.0, 1_000.0, count),
    )


def history(market: int = 0, *, days: int = 30) -> MarketHistory:
    return MarketHistory(
        market=MarketId(market),
        symbol=f"M{market}",
        hours=candles(HOUR_MS, 24 * days, market=market, seed=market),
        minutes=candles(MINUTE_MS, 1_440, market=market, seed=market),
        depth=BookDepth(bid_usdc=(1e5, 2e5, 4e5, 8e5), ask_usdc=(1e5, 2e5, 4e5, 8e5)),
    )


def market_snapshot(**changes: object) -> MarketSnapshot:
    values: dict[str, object] = {
        "history": history(),
        "mark": mark(),
        "state": state(),
        "posted": posted(),
    }
    return MarketSnapshot(**(values | changes))  # type: ignore[arg-type]


def bounds(**changes: object) -> ClassBounds:
    values: dict[str, object] = {
        "min_cap_e2": 100,
        "max_cap_e2": 5_000,
        "floor_maintenance_ppm": 10_000,
        "profit_share_ppm": 500_000,
        "max_open_interest_cap_usdc": round_down_amount(WholeUsdc(100_000_000)),
        "min_size_scale_usdc": 1_000,
        "max_spread_ppm": 10_000,
        "notice_s": 3_600,
        "max_validity_s": 3_600,
        "tighten_ppm": 500_000,
        "loosen_ppm": 100_000,
        "min_step_cap_e2": 10,
        "min_step_amount_usdc": round_down_amount(WholeUsdc(10_000)),
        "min_step_spread_ppm": 40,
        "loosen_delay_s": 3_600,
        "daily_drift_ppm": 600_000,
    }
    return ClassBounds(**(values | changes))  # type: ignore[arg-type]


def live(**changes: object) -> Values:
    values: dict[str, object] = {
        "cap_e2": 1_900,
        "open_interest_cap_usdc": round_down_amount(WholeUsdc(20_000_000)),
        "size_scale_usdc": round_down_amount(WholeUsdc(2_000_000)),
        "spread_ppm": 300,
        "reduce_only": False,
    }
    return Values(**(values | changes))  # type: ignore[arg-type]


def state(**changes: object) -> MarketState:
    values: dict[str, object] = {
        "values": live(),
        "previous": live(),
        "frozen": False,
        "revertible": False,
        "held": False,
        "class_id": 1,
        "ai_epoch": 0,
        "drift_used": 0,
        "validity_s": 900,
        "observed_at_ms": UnixMs(NOW_MS - 60_000),
        "ramp_from_ppm": 26_315,
        "changed_at_s": UnixS(NOW_MS // 1_000 - 86_400),
        "ramp_s": 0,
    }
    return MarketState(**(values | changes))  # type: ignore[arg-type]


def domain(byte: str) -> Domain:
    return Domain(
        chain_id=131_277_322_940_537, contract="0x" + byte * 20, config_digest=b"\x07" * 32
    )


def limits(**changes: object) -> Limits:
    values: dict[str, object] = {
        "domain": domain("11"),
        "block_number": 12,
        "timestamp_s": UnixS(NOW_MS // 1_000),
        "round": 4,
        "controls": NO_CONTROLS,
        "bounds": {1: bounds()},
        "states": (state(), state()),
        "feed": Feed(domain=domain("22"), round=9, posted=(posted(), None)),
    }
    return Limits(**(values | changes))  # type: ignore[arg-type]


def quote(venue: str, market: int = 0, *, price: float = 100.0, age_ms: int = 300) -> Quote:
    mid = int(price * 10**6) * 10**12
    return Quote(
        venue=venue,
        market=MarketId(market),
        quote_currency="USDC",
        bid_e18=mid - E18 // 100,
        ask_e18=mid + E18 // 100,
        mark_e18=mid,
        observed_at_ms=UnixMs(NOW_MS - age_ms),
        received_at_ms=UnixMs(NOW_MS - age_ms + 100),
    )


def observation(**changes: object) -> Observation:
    quotes = tuple(quote(venue, market) for market in (0, 1) for venue in ("a", "b", "c"))
    values: dict[str, object] = {
        "as_of_ms": NOW_MS,
        "limits": limits(),
        "quotes": QuoteRound(
            quotes=quotes, stablecoins=(), refused=(), faults=(), taken_at_ms=NOW_MS
        ),
        "rules": AggregationRules(),
        "histories": (history(0), history(1, days=4)),
    }
    return Observation(**(values | changes))  # type: ignore[arg-type]
