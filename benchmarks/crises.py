"""Recorded crises replayed: our agent on the contracts' law, beside peers, over one population.

    python -m benchmarks.crises --json OUT [--seeds N] [--accounts N] [--every MINUTES]
    python -m benchmarks.crises --quick

docs/crises.md says what is played and what the traders do. Without the recorded candles it says so
and ends; `--quick` plays a minute of work on made-up candles instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agent.config import load_settings
from benchmarks.crises_peers import OURS, PEERS, Multiples, Tiers, multiples
from benchmarks.crises_prices import (
    HOUR_MS,
    LEAD_MINUTES,
    LOOK_BACK_HOURS,
    MINUTE_MS,
    Bars,
    MissingCandlesError,
)
from benchmarks.crises_report import figures, table_of
from benchmarks.crises_run import Crisis, Ground, Play, bars_of
from models.artifact import default_artifact, load

DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
HOURS: Final = "binance-usdm-1h-funding-2019-2023/ohlcv-1h.parquet"
QUARTERS: Final = "binance-spot-1h-2017-2023/ohlcv-15m-9alts.parquet"
SPOT: Final = "binance-spot-1h-2017-2023/ohlcv-1h.parquet"
TIERS: Final = "binance-leverage-tiers-2022-2026/tiers-panel.parquet"
LEARNED: Final = "bitfinex-1m-2013-2019"
SIX: Final = (
    ("BTC/USDT:USDT", 1),
    ("ETH/USDT:USDT", 1),
    ("XRP/USDT:USDT", 2),
    ("LTC/USDT:USDT", 2),
    ("EOS/USDT:USDT", 3),
    ("ETC/USDT:USDT", 3),
)
"""Perpetuals, hourly; classes as in config/local.toml: majors, large, the rest."""
ALTS: Final = (
    ("SOL/USDT", 2),
    ("DOT/USDT", 2),
    ("AVAX/USDT", 2),
    ("AAVE/USDT", 3),
    ("MANA/USDT", 3),
    ("NEAR/USDT", 3),
)
"""Spot, 15 minutes."""


def _day(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


SPANS: Final = {
    "2020-03": (_day(2020, 3, 11), _day(2020, 3, 14)),
    "2021-05": (_day(2021, 5, 18), _day(2021, 5, 21)),
    "2022-05": (_day(2022, 5, 8), _day(2022, 5, 12)),
    "2022-06": (_day(2022, 6, 12), _day(2022, 6, 16)),
    "2022-11": (_day(2022, 11, 7), _day(2022, 11, 11)),
}
"""A day that fills the books, and the worst days; days of UTC."""
CRISES: Final = (
    *(
        Crisis(name=name, file=HOURS, markets=SIX, start=start, end=end, witness=SPOT)
        for name, (start, end) in SPANS.items()
    ),
    *(
        Crisis(
            name=f"{name}, 15 min",
            file=QUARTERS,
            markets=ALTS,
            start=SPANS[name][0],
            end=SPANS[name][1],
        )
        for name in ("2021-05", "2022-05", "2022-06")
    ),
)
QUICK: Final = Crisis(
    name="made up",
    file="",
    markets=(("AAA", 1), ("BBB", 3)),
    start=_day(2024, 1, 10),
    end=_day(2024, 1, 11),
    warm_days=0,
)
QUICK_MULTIPLES: Final = Multiples(long=4.94, short=4.61)
"""Of BTC, ETH, LTC and XRP before 2020, as `multiples` measures them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print the tables, and write every replay's figures."""
    options = _options(arguments)
    missing = None if options.quick else _missing()
    if missing is not None:
        print(f"skipped: {missing} is absent; the recorded candles are not part of the product")
        return 0
    ground = _ground(options)
    rows: list[dict[str, Any]] = []
    begun = time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        for crisis in [QUICK] if options.quick else _chosen(options.only):
            rows += _played(ground, crisis, seed, options.peers, begun)
            _write(options, ground, rows)
    for crisis_name in dict.fromkeys(row["crisis"] for row in rows):
        print(table_of(rows, crisis_name), end="\n\n")
    print(f"artifact {ground.model.model_hash.hex()}, first tiers {ground.tiers.first}")
    known = dict.fromkeys(row["crisis"] for row in rows if row["in_sample"])
    if known:
        print(f"the artifact has learned from these very days: {', '.join(known)}")
    return 0


def _played(
    ground: Ground, crisis: Crisis, seed: int, peers: Sequence[str], begun: float
) -> list[dict[str, Any]]:
    """Play one crisis and seed under every peer."""
    bars = made_up(crisis) if not crisis.file else bars_of(DATA, crisis)
    play = Play(ground, crisis, bars, seed)
    seen = crisis.start < datetime.fromisoformat(ground.model.manifest.trained_before)
    rows = []
    for peer in peers:
        before = time.process_time()
        played = play.run(peer)
        found = figures(played.record, played.walk, played.warm_minutes)
        rows.append({"crisis": crisis.name, "peer": peer, "seed": seed, "in_sample": seen} | found)
        _tell(
            f"{time.monotonic() - begun:7.0f} s  {crisis.name}, seed {seed}, {peer}: "
            f"bad debt {found['bad_debt_usdc']:,.0f}, "
            f"liquidated {found['liquidated_usdc']:,.0f}, cap {found['cap']:.1f} "
            f"({time.process_time() - before:.0f} s of processor)"
        )
    return rows


def made_up(crisis: Crisis) -> Bars:
    """Draw hourly candles in which every market falls by a third within two hours."""
    hours = LOOK_BACK_HOURS + LEAD_MINUTES // 60 + int((crisis.end - crisis.start).days * 24)
    rng = np.random.default_rng(7)
    steps = rng.standard_normal((hours, len(crisis.markets))) * 0.006
    steps[-10:-8] = np.log(0.81)
    close = 100.0 * np.exp(np.cumsum(steps, axis=0))
    opened = np.vstack([np.full((1, close.shape[1]), 100.0), close[:-1]])
    wick = 1.0 + 0.002 * np.abs(rng.standard_normal((2, *close.shape)))
    start_ms = int(crisis.start.timestamp() * 1_000)
    return Bars(
        bar_ms=HOUR_MS,
        start_ms=start_ms - (LOOK_BACK_HOURS * 60 + LEAD_MINUTES) * MINUTE_MS,
        open=opened,
        high=np.maximum(opened, close) * wick[0],
        low=np.minimum(opened, close) / wick[1],
        close=close,
        volume=rng.uniform(2e5, 4e5, close.shape),
    )


def _made_up_tiers(crisis: Crisis) -> pd.DataFrame:
    names = [symbol for symbol, _ in crisis.markets]
    return pd.DataFrame(
        {
            "symbol": names,
            "snapshot": pd.Timestamp(2022, 2, 13, tz=UTC),
            "min_notional": 0.0,
            "max_notional": 1e12,
            "mmr": 0.01,
        }
    )


def _ground(options: argparse.Namespace) -> Ground:
    quick = options.quick
    return Ground(
        model=load(options.model or default_artifact()),
        settings=load_settings("local"),
        found=QUICK_MULTIPLES if quick else multiples(DATA / LEARNED),
        tiers=Tiers(_made_up_tiers(QUICK) if quick else pd.read_parquet(DATA / TIERS)),
        accounts=options.accounts,
        every_minutes=options.every,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.crises", description=__doc__)
    parser.add_argument("--json", type=Path, help="where every replay's figures go")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--accounts", type=int, default=120)
    parser.add_argument("--every", type=int, default=60, help="minutes between decisions")
    parser.add_argument("--only", help="one crisis, or several between semicolons")
    parser.add_argument("--peers", help="peers between semicolons; ours is always there")
    parser.add_argument("--model", type=Path, help="an artifact's folder, if not the shipped one")
    parser.add_argument("--quick", action="store_true", help="made-up candles, about a minute")
    options = parser.parse_args(arguments)
    options.peers = _listed(options.peers, PEERS)
    if options.quick:
        options.seeds, options.accounts, options.every = 1, min(options.accounts, 40), 60
    return options


def _chosen(only: str | None) -> list[Crisis]:
    """Give the crises asked for."""
    names = _listed(only, [crisis.name for crisis in CRISES])
    return [crisis for crisis in CRISES if crisis.name in names]


def _listed(asked: str | None, known: Sequence[str]) -> list[str]:
    """Give the names asked for, or all; ours plays always, for the others start from it."""
    names = [name.strip() for name in asked.split(";")] if asked else list(known)
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"no {', '.join(sorted(unknown))}; there are: {'; '.join(known)}")
    return [name for name in known if name in names or name == OURS]


def _missing() -> Path | None:
    paths = [DATA / name for name in (HOURS, SPOT, QUARTERS, TIERS, LEARNED)]
    return next((path for path in paths if not path.exists()), None)


def _write(options: argparse.Namespace, ground: Ground, rows: list[dict[str, Any]]) -> None:
    if options.json is None:
        return
    document = {
        "artifact": ground.model.model_hash.hex(),
        "trained_before": ground.model.manifest.trained_before,
        "seeds": [options.first, options.first + options.seeds - 1],
        "accounts": options.accounts,
        "every_minutes": options.every,
        "first_tiers": ground.tiers.first,
        "ewma_multiples": [ground.found.long, ground.found.short],
        "replays": rows,
    }
    options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingCandlesError as fault:
        sys.exit(f"the recorded candles do not fit: {fault}")
