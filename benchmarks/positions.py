"""One price tick over a million positions: the list of those at risk, how long, how much memory.

    python -m benchmarks.positions --json OUT [--positions N] [--ticks N] [--warn]

Beside it, on the same positions and prices: a scan of all of them in numpy, and the law's exact
function in a plain loop, on a sample and multiplied. Positions are drawn, labelled so: leverage 2
to 20, margins from just above maintenance; prices walk at 60 % a year, a step a second, all
markets at once. Whoever is found is closed, as a keeper would; five minutes of this go by before
anything is timed. Processor time stands beside the
wall's: on a machine that others use, only the first says what the work costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.positions.levels import WarnSettings
from agent.positions.screen import Columns, fatal_long, fatal_short
from agent.positions.warn_turn import Warner
from agent.positions.watch import Watch, decide, markets_now
from contracts.book import Book
from contracts.book_margin import health
from contracts.book_readings import ALL_PERMISSIONS, Limits, Mark, Reading, Readings
from contracts.book_words import (
    CROSS,
    ISOLATED,
    AccountBook,
    MarketRules,
    Position,
    PositionId,
    encode_account,
    encode_position,
    encode_rules,
    encode_sizes,
    position_id,
    split_position_id,
)
from relayer.chain.index import Index
from relayer.chain.index_ledger import Ledger, Table

MARKETS, HOLDINGS = 50, 3  # markets; positions of a cross account
CROSS_SHARE = 0.2
PPM, USDC, E18 = 10**6, 10**6, 10**18
RATIO_PPM = 10_000
YEAR_S, VOLATILITY = 31_557_600, 0.6
SAMPLE, WARM_UP = 20_000, 300
NOW_S = 1_700_000_000
RULES = MarketRules(
    fee_ppm=500,
    impact_ppm=2_000,
    funding_daily_ppm=10_000,
    interest_share_ppm=500_000,
    skew_share_ppm=400_000,
    penalty_min_ppm=2_500,
    penalty_max_ppm=8_000,
    cut_share_ppm=600_000,
    min_notional_usdc=100,
    reward=200_000,
    execution_fee=100_000,
    liquidation_age_s=60,
    band_ppm=50_000,
)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What was drawn for one position: whose, where, which way, how large, how far from the end."""

    account: int
    market: int
    mode: int
    long: bool
    notional_usdc: float
    leverage: float
    spare: float  # margin above maintenance, as a share of the notional


def memory_mb() -> float:
    """Resident memory of this process now, from the kernel; the peak where it does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return pages * resource.getpagesize() / 2**20


def drawn(count: int, rng: np.random.Generator) -> Iterator[Drawn]:
    """Draw positions: most isolated, each account's own; cross ones by three to an account."""
    cross = int(count * CROSS_SHARE)
    worth = np.exp(rng.normal(math.log(2_000), 1.2, count)) + 100
    leverage = rng.uniform(2, 20, count)
    spare = rng.uniform(0.002, 1.0, count) * (1 / leverage)
    long = rng.random(count) < 0.55
    market = rng.integers(0, MARKETS, count)
    for n in range(count):
        in_cross = n < cross
        where = (int(market[n - n % HOLDINGS]) + n % HOLDINGS) % MARKETS if in_cross else market[n]
        yield Drawn(
            account=(1 << 159) + (n // HOLDINGS if in_cross else cross + n),
            market=int(where),
            mode=CROSS if in_cross else ISOLATED,
            long=bool(long[n]),
            notional_usdc=float(worth[n]),
            leverage=float(leverage[n]),
            spare=float(spare[n]),
        )


def filled(rows: Iterable[Drawn], prices: Sequence[int]) -> Index:
    """Put positions into an index, as the contracts' events would have."""
    ledger = Ledger()
    accounts: dict[int, list[Drawn]] = {}
    sizes = [[0, 0] for _ in range(MARKETS)]
    for row in rows:
        size = int(row.notional_usdc * USDC) * 10**30 // prices[row.market]
        margin = int(row.notional_usdc * USDC * (RATIO_PPM / PPM + row.spare)) + 10
        isolated = row.mode == ISOLATED
        held = Position(
            size=size,
            basis=prices[row.market],
            leverage_e2=int(row.leverage * 100),
            long=row.long,
            collateral=margin if isolated else 0,
            maintenance_ppm=RATIO_PPM,
            ceiling_ppm=RATIO_PPM,
            version=1,
            stamp_ms=1,
        )  # type: ignore[arg-type]
        identity = position_id(row.account, row.market, row.mode)  # type: ignore[arg-type]
        ledger.tables[Table.POSITION][identity] = encode_position(held)
        life = (NOW_S, int(row.notional_usdc * USDC), held.leverage_e2, RATIO_PPM, int(row.long))
        ledger.tables[Table.LIFE][identity] = life
        sizes[row.market][0 if row.long else 1] += size
        if isolated:
            ledger.tables[Table.ACCOUNT][row.account] = (encode_account(AccountBook(nonce=1)), 0)
        else:
            accounts.setdefault(row.account, []).append(row)
    for account, held_rows in accounts.items():
        book = AccountBook(markets=tuple(r.market for r in held_rows))  # type: ignore[arg-type]
        margins = (int(r.notional_usdc * USDC * (RATIO_PPM / PPM + r.spare)) for r in held_rows)
        ledger.tables[Table.ACCOUNT][account] = (encode_account(book), sum(margins) + 10)
    for market, (long, short) in enumerate(sizes):
        words = (encode_sizes(long, short), 0, 0, 0, encode_rules(RULES), 0, 0)  # type: ignore[arg-type]
        ledger.tables[Table.MARKET][market] = words
    return Index(ledger)


def readings_at(prices: Sequence[int]) -> Readings:
    """Say that every market is priced now, and open."""
    limits = Limits(
        permissions=ALL_PERMISSIONS,
        halted=False,
        effective_maintenance_ppm=RATIO_PPM,
        cap_e2=5_000,
        floor_maintenance_ppm=RATIO_PPM,
        profit_share_ppm=500_000,
        spread_ppm=500,
        open_interest_cap_usdc=10**9,
        size_scale_usdc=10**6,
    )  # type: ignore[arg-type]
    return Readings(
        now_s=NOW_S,
        markets={m: Reading(mark=_mark(price), limits=limits) for m, price in enumerate(prices)},
    )  # type: ignore[arg-type]


def _mark(price: int) -> Mark:
    return Mark(
        price=price,
        average=price,
        confidence_ppm=0,
        observed_at_ms=NOW_S * 1_000,
        unconfirmed=False,
        fresh=True,
        new_risk=True,
    )  # type: ignore[arg-type]


def walk(prices: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Move every price by a second."""
    step = VOLATILITY / math.sqrt(YEAR_S)
    moves = np.exp(rng.normal(0, step, len(prices)))
    return [int(price * move) for price, move in zip(prices, moves, strict=True)]


def closed(index: Index, watch: Watch, found: Sequence[PositionId]) -> None:
    """Close whoever was found, as the contract's events would."""
    for identity in found:
        account, market, mode = split_position_id(identity)
        index.ledger.put(Table.POSITION, identity, (0, 2 << 104, 0))
        if mode == CROSS:
            held = index.account(account)
            left = tuple(each for each in held.markets if each != market)
            word = encode_account(replace(held, markets=left))
            index.ledger.put(Table.ACCOUNT, account, (word, held.balance))
    number = index.block[0] + 1
    watch.take(key for key, _ in index.ledger.end_block(number, number.to_bytes(32, "big")).undo)


def watched(
    index: Index, watch: Watch, prices: list[int], ticks: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Time each tick: from prices to the exact list of those at risk."""
    took, cpu, screened, at_risk, between = [], [], 0, 0, []
    gc.freeze()
    gc.disable()
    for _ in range(ticks):
        prices = walk(prices, rng)
        readings = readings_at(prices)
        began, began_cpu = time.perf_counter(), time.thread_time()
        now = markets_now(Book(markets=index.markets()), readings)
        candidates = watch.candidates(now)
        weak = decide(index.holding(candidates), readings, candidates)
        took.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - began_cpu)
        screened, at_risk = screened + len(candidates), at_risk + len(weak)
        closed(index, watch, list(weak))
        began = time.perf_counter()
        watch.tidy(now)
        between.append(time.perf_counter() - began)
    gc.enable()
    return {
        "ticks": ticks,
        **_quantiles("tick_ms", took),
        **_quantiles("tick_processor_ms", cpu),
        **_quantiles("tidy_between_ticks_ms", between),
        "screened_a_tick": screened / ticks,
        "at_risk_a_tick": at_risk / ticks,
    }


def scanned(count: int, prices: Sequence[int], ticks: int) -> dict[str, Any]:
    """Time the same look in numpy over all positions, each tick anew; the isolated ones' rule."""
    start = np.array(prices, dtype=np.float64)
    rng = np.random.default_rng(2)
    market, long = rng.integers(0, MARKETS, count), rng.random(count) < 0.55
    worth = np.exp(rng.normal(math.log(2_000), 1.2, count)) * USDC
    ratio = np.full(count, RATIO_PPM / PPM)
    held = Columns(
        size=worth * 1e30 / start[market],
        basis=start[market],
        collateral=worth * (ratio + rng.uniform(0.002, 0.2, count)),
        least=ratio,
        most=ratio,
    )
    took = []
    for _ in range(ticks):
        began = time.perf_counter()
        price = start[market]
        reached = np.where(
            long, price <= fatal_long(held, ratio, 0.0), price >= fatal_short(held, ratio, 0.0)
        )
        np.nonzero(reached)
        took.append(time.perf_counter() - began)
    return _quantiles("scan_ms", took)


def looped(index: Index, readings: Readings) -> dict[str, Any]:
    """Time the law's exact function over a sample, one by one."""
    ids = [PositionId(key) for key in list(index.ledger.tables[Table.POSITION])[-SAMPLE:]]
    book = index.part({split_position_id(identity)[0] for identity in ids})
    began = time.perf_counter()
    for identity in ids:
        health(book, readings, identity)
    each_s = (time.perf_counter() - began) / len(ids)
    total = len(index.ledger.tables[Table.POSITION])
    return {"loop_us_a_position": each_s * 1e6, "loop_s_for_all": each_s * total}


class Nowhere:
    """A channel that takes everything, and a memory that forgets it."""

    async def send(self, title: str, body: str, urgency: int) -> bool:
        """Take a message."""
        return bool(title and body and urgency)

    async def waiting(self) -> Sequence[tuple[int, str, int, str]]:
        """Nothing waits."""
        return ()

    async def said_since(self, at_ms: int) -> Mapping[str, int]:
        """Nothing was said."""
        del at_ms
        return {}

    async def note(self, rows: Sequence[tuple[str, int, str]], now_ms: int) -> Sequence[int]:
        """Number the rows."""
        del now_ms
        return range(len(rows))

    async def said(self, numbers: Sequence[int], now_ms: int) -> None:
        """Take note."""


def warned(
    index: Index, watch: Watch, prices: list[int], turns: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Time turns of warnings over all of them, by distance alone: no forecast, one digest."""
    warner, took, cpu = Warner(index, WarnSettings(), Nowhere(), Nowhere()), [], []
    for turn in range(turns):
        prices = walk(prices, rng)
        readings = readings_at(prices)
        now = markets_now(Book(markets=index.markets()), readings)
        watch.candidates(now)
        began, began_cpu = time.perf_counter(), time.thread_time()
        asyncio.run(warner.turn(watch, readings, now, 1_000 * (NOW_S + turn)))
        took.append(time.perf_counter() - began)
        cpu.append(time.thread_time() - began_cpu)
    return {
        "warnings_standing": len(warner.board.standing),
        "warn_turn_first_s": took[0],
        "warn_turn_first_processor_s": cpu[0],
        "warn_turn_next_processor_s": float(np.median(cpu[1:])),
    }


def _quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    values = np.array(seconds) * 1_000
    return {
        f"{name}_p50": float(np.quantile(values, 0.5)),
        f"{name}_p99": float(np.quantile(values, 0.99)),
        f"{name}_max": float(values.max()),
    }


def run(count: int, ticks: int, seed: int = 1, *, warns: bool = False) -> dict[str, Any]:
    """Measure everything."""
    rng = np.random.default_rng(seed)
    prices = [int(math.exp(rng.uniform(-2, 11)) * E18) for _ in range(MARKETS)]
    base = memory_mb()
    index = filled(drawn(count, rng), prices)
    gc.collect()
    with_index = memory_mb()
    readings = readings_at(prices)
    loop = looped(index, readings)
    began = time.perf_counter()
    watch = Watch(index)
    watch.candidates(markets_now(Book(markets=index.markets()), readings))
    built_s = time.perf_counter() - began
    gc.collect()
    with_watch = memory_mb()
    watched(index, watch, prices, WARM_UP, rng)  # whoever was drawn at the brink is gone
    found = watched(index, watch, prices, ticks, rng)
    warnings = warned(index, watch, prices, 3, rng) if warns else {}
    scan = scanned(count, prices, 10)
    return {
        "positions": count,
        "markets": MARKETS,
        "cross_share": CROSS_SHARE,
        **found,
        **warnings,
        **scan,
        **loop,
        "build_s": built_s,
        "memory_before_mb": base,
        "memory_index_mb": with_index - base,
        "memory_watch_mb": with_watch - with_index,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--ticks", type=int, default=1_000)
    parser.add_argument("--warn", action="store_true", help="also time turns of warnings")
    given = parser.parse_args()
    found = run(given.positions, given.ticks, warns=given.warn)
    text = json.dumps(found, indent=1)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
