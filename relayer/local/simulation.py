"""A labelled simulator of many markets: correlated, with regimes, clustering, jumps and crashes.

Minutes of log prices with a common factor. Log volatility is the sum of a slow and a fast part,
each partly common, a two-state regime and the hour of the day; a falling market raises the fast
part (the leverage effect), and so does a jump. Funding follows what the market did over the last
days, as skew does. The parameters are fitted by hand to recorded hours before 2025; the comparison
is docs/stylised-facts.svg, drawn by `python -m benchmarks.stylised_facts`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relayer.local.replay import SYNTHETIC_KEY
from relayer.local.tape import BAR_MS

STARTS_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
HISTORY_DAYS: Final = 3  # that scoring needs before play starts
MOST_MARKETS: Final = 400
_DAY: Final = 1_440
_STEPS: Final = 4  # of the walk inside one minute
_TAIL: Final = 4.0  # degrees of freedom of a minute's Student t
_COMMON: Final = 0.85  # correlation of a market's innovations with the common factor

# Log volatility: half-life in minutes, standard deviation, share of its variance that is common.
_SLOW: Final = (6.0 * _DAY, 0.50, 0.9)
_FAST: Final = (3.0 * 60, 0.45, 0.8)
_LEVERAGE: Final = 0.25  # of a fast shock's variance is owed to falling prices
_DAILY_SWING: Final = 0.20  # log volatility by the hour of the day, peak at 15 h UTC
_CALM_DAYS: Final = 8.0
_STRESSED_DAYS: Final = 0.75
_STRESS: Final = 0.7  # log of what stress multiplies volatility by

_COMMON_JUMPS_A_DAY: Final = 0.20
_OWN_JUMPS_A_DAY: Final = 0.15
_JUMP: Final = 3.0  # standard deviation of a jump, in hours' standard deviations
_JUMP_EXCITES: Final = 0.5  # what it adds to fast log volatility

_FUNDING_MINUTES: Final = 480
_FUNDING_BASE: Final = 0.0001
_FUNDING_OF_TREND: Final = 0.0015  # a rate for each unit of the last three days' log return
_FUNDING_MOST: Final = 0.0075
_MAJORS: Final = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
_PRICES: Final = (90_000.0, 3_000.0, 140.0, 2.1, 850.0, 0.14, 0.42, 13.0, 14.0, 2.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A fall that is written in advance, of every market, the small ones more."""

    at_s: float  # after the start of play
    fall: float  # share of the price that a major loses
    minutes: int = 30
    recovery: float = 0.3  # share of the fall that comes back over six times as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is to be made up."""

    markets: int = 20
    days: int = 7  # the first three are history
    seed: int = 1
    crashes: tuple[Crash, ...] = field(default=())


def write_simulation(path: Path, wanted: Simulation) -> None:
    """Write candles, and funding beside them; the same settings give the same rows."""
    minutes = wanted.days * _DAY
    times = STARTS_MS + BAR_MS * np.arange(minutes, dtype=np.int64)
    names = sorted(range(wanted.markets), key=base_of)
    common = Common(wanted)
    label = {SYNTHETIC_KEY: f"simulated, seed {wanted.seed}".encode()}
    funding: list[pa.Table] = []
    schema = _candles("X", times[:1], np.ones((5, 1))).schema.with_metadata(label)
    with pq.ParquetWriter(path, schema) as writer:
        for rank in names:
            steps = market_steps(common, rank, wanted)
            market = _market(rank, times, steps, wanted.seed)
            writer.write_table(market.replace_schema_metadata(label))
            funding.append(_funding(rank, times, steps.sum(axis=1)))
    pq.write_table(pa.concat_tables(funding), path.with_name("funding.parquet"))


def base_of(rank: int) -> str:
    """Name a market by its rank of size: real names for the first, made-up ones below."""
    return _MAJORS[rank] if rank < len(_MAJORS) else f"SIM{rank:03d}"


def minute_volatility(rank: int) -> float:
    """Give the median standard deviation of a minute: 35 % a year for the first, 110 % at most."""
    return min(1.10, 0.35 + 0.045 * rank) / math.sqrt(365 * _DAY)


def market_steps(common: Common, rank: int, wanted: Simulation) -> Floats:
    """Make one market's log steps, of shape (minutes, steps of one minute)."""
    chance = np.random.default_rng([wanted.seed, 1, rank])
    minutes = len(common.slow)
    own_shock = chance.standard_normal(minutes)
    slow = _mixed(common.slow, _wander(chance.standard_normal(minutes), _SLOW[0]), _SLOW)
    fast = _mixed(common.fast, _wander(own_shock, _FAST[0]), _FAST)
    own_jumps = _jumps(chance, minutes, _OWN_JUMPS_A_DAY)
    fast += _excited(own_jumps)
    sigma = minute_volatility(rank) * np.exp(slow + fast + common.regime)
    t = chance.standard_t(_TAIL, (minutes, _STEPS)) * np.sqrt((_TAIL - 2) / _TAIL)
    noise = _COMMON * common.shocks + np.sqrt(1 - _COMMON**2) * t
    steps: Floats = sigma[:, None] / np.sqrt(_STEPS) * noise
    hour = minute_volatility(rank) * np.sqrt(60)
    steps[:, 0] += hour * (own_jumps + common.jumps)
    scale = 1 + min(rank, 20) / 20
    play = (HISTORY_DAYS * _DAY, minutes)
    for crash in wanted.crashes:
        steps += (_crash(crash, play) * scale)[:, None] / _STEPS
    return steps


class Common:
    """What all markets share: the factor's shocks, volatility, regime and jumps."""

    def __init__(self, wanted: Simulation) -> None:
        chance, minutes = np.random.default_rng([wanted.seed, 0]), wanted.days * _DAY
        t = chance.standard_t(_TAIL, (minutes, _STEPS)) * np.sqrt((_TAIL - 2) / _TAIL)
        self.shocks: Floats = t
        self.jumps = _jumps(chance, minutes, _COMMON_JUMPS_A_DAY)
        pressed = np.clip(-t.sum(axis=1) / np.sqrt(_STEPS), -3, 3)
        mixed = np.sqrt(_LEVERAGE) * pressed
        mixed += np.sqrt(1 - _LEVERAGE) * chance.standard_normal(minutes)
        # What falls now is felt from the next minute on.
        shock = np.concatenate(([0.0], mixed[:-1]))
        self.slow = _wander(chance.standard_normal(minutes), _SLOW[0])
        self.fast = _wander(shock, _FAST[0]) + _excited(self.jumps) / _FAST[1]
        hours = np.arange(minutes) % _DAY / 60
        daily = _DAILY_SWING * np.cos(2 * np.pi * (hours - 15) / 24)
        self.regime: Floats = daily + _STRESS * _stressed(chance, minutes)


def _wander(shocks: Floats, half_life: float) -> Floats:
    """Make an autoregression of unit variance from shocks of unit variance."""
    keep = 0.5 ** (1 / half_life)
    # The first is of unit variance too, so that the start is like any moment.
    return _carried(np.sqrt(1 - keep**2) * shocks, keep, before=float(shocks[0]))


def _mixed(common: Floats, own: Floats, part: tuple[float, float, float]) -> Floats:
    """Join a common and an own part of log volatility."""
    _, deviation, share = part
    mixed: Floats = deviation * (np.sqrt(share) * common + np.sqrt(1 - share) * own)
    return mixed


def _jumps(chance: np.random.Generator, minutes: int, a_day: float) -> Floats:
    """Give each minute's jump, mostly none, in hours' standard deviations."""
    came = chance.random(minutes) < a_day / _DAY
    sizes: Floats = np.where(came, _JUMP * chance.standard_normal(minutes), 0.0)
    return sizes


def _excited(jumps: Floats) -> Floats:
    """Give what jumps add to fast log volatility, from the next minute on, as long as it lasts."""
    came = np.concatenate(([0.0], (jumps[:-1] != 0) * _JUMP_EXCITES))
    return _carried(came, 0.5 ** (1 / _FAST[0]))


def _carried(added: Floats, keep: float, before: float = 0.0) -> Floats:
    """Give y of y[t] = keep × y[t-1] + added[t], in blocks: powers of `keep` stay near 1 in one."""
    length = max(1, min(512, len(added)))
    blocks = np.pad(added, (0, -len(added) % length)).reshape(-1, length)
    powers = keep ** np.arange(1, length + 1)
    found = np.cumsum(blocks / powers, axis=1) * powers
    for block in range(len(found)):
        found[block] += before * powers
        before = float(found[block, -1])
    carried: Floats = found.ravel()[: len(added)]
    return carried


def _stressed(chance: np.random.Generator, minutes: int) -> Floats:
    """Walk between calm (0) and stress (1), entered and left at random."""
    draws = chance.random(minutes)
    state = np.zeros(minutes)
    now, at = 0.0, 0
    while at < minutes:
        rate = 1 / (_DAY * (_CALM_DAYS if now == 0 else _STRESSED_DAYS))
        turns = np.flatnonzero(draws[at:] < rate)
        end = at + (int(turns[0]) + 1 if len(turns) else minutes - at)
        state[at:end] = now
        now, at = 1 - now, end
    return state


def _crash(crash: Crash, play: tuple[int, int]) -> Floats:
    """Give each minute's drift of a written crash: down evenly, and a share of it back."""
    start = play[0] + int(crash.at_s // 60)
    drift = np.zeros(play[1])
    fall = np.log1p(-crash.fall)
    drift[start : start + crash.minutes] = fall / crash.minutes
    calm = start + 2 * crash.minutes
    drift[calm : calm + 6 * crash.minutes] = -fall * crash.recovery / (6 * crash.minutes)
    return drift


def _market(rank: int, times: NDArray[np.int64], steps: Floats, seed: int) -> pa.Table:
    """Turn steps into candles; turnover follows activity."""
    chance = np.random.default_rng([seed, 2, rank])
    first = _PRICES[rank] if rank < len(_PRICES) else 50.0 / (rank - 8)
    walk = first * np.exp(np.cumsum(steps.ravel())).reshape(steps.shape)
    opened = np.concatenate(([first], walk[:-1, -1]))
    busy = np.abs(steps).sum(axis=1) / (minute_volatility(rank) * np.sqrt(_STEPS))
    usdc = 9e6 / (1 + rank) ** 1.1 * (0.3 + busy) * chance.lognormal(0.0, 0.4, len(times))
    high, low = np.maximum(opened, walk.max(axis=1)), np.minimum(opened, walk.min(axis=1))
    columns = np.array([opened, high, low, walk[:, -1], usdc / walk[:, -1]])
    return _candles(f"{base_of(rank)}/USDC:USDC", times, columns)


def _candles(symbol: str, times: NDArray[np.int64], columns: Floats) -> pa.Table:
    """Write rows as the replay reads them."""
    names = ("open", "high", "low", "close", "volume")
    table: dict[str, pa.Array[Any]] = {
        "symbol": pa.array([symbol] * len(times)),
        "ts": pa.array(times, pa.timestamp("ms", tz="UTC")),
        **{name: pa.array(column) for name, column in zip(names, columns, strict=True)},
    }
    return pa.table(table)


def _funding(rank: int, times: NDArray[np.int64], returns: Floats) -> pa.Table:
    """Give each eight hours' rate: the base, and more where the market rose for three days."""
    trend = _carried(returns, 0.5 ** (1 / (1.5 * _DAY)))
    due = np.arange(_FUNDING_MINUTES, len(times), _FUNDING_MINUTES)
    rates = np.clip(_FUNDING_BASE + _FUNDING_OF_TREND * trend[due], -_FUNDING_MOST, _FUNDING_MOST)
    return pa.table(
        {
            "symbol": [f"{base_of(rank)}/USDC:USDC"] * len(due),
            "ts": pa.array(times[due], pa.timestamp("ms", tz="UTC")),
            "funding_rate": pa.array(rates),
        }
    )
