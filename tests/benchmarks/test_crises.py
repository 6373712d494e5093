"""Replays of crises on made-up candles: walks, peers, figures, and the contracts themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import crises
from benchmarks.crises_contracts import quick_sample
from benchmarks.crises_floor import Liquidation
from benchmarks.crises_peers import PEERS, Tiers
from benchmarks.crises_prices import LEAD_MINUTES, Bars, bridge, path_of, within
from benchmarks.crises_report import survivors
from tests.contracts.chain import FAST

HOUR_MS = 3_600_000


@pytest.mark.parametrize("steps", [15, 60])
@pytest.mark.parametrize("seed", range(5))
def test_bridge__any_seed__touches_both_extremes_and_ends_at_the_close(
    steps: int, seed: int
) -> None:
    row = np.log([100.0, 104.0, 90.0, 97.0])
    walked = bridge(row, steps, np.random.default_rng(seed))
    assert len(walked) == steps
    assert walked.max() == pytest.approx(row[1])
    assert walked.min() == pytest.approx(row[2])
    assert walked[-1] == pytest.approx(row[3])


def test_bridge__bar_that_stood_still__stands_still() -> None:
    walked = bridge(np.log([5.0, 5.0, 5.0, 5.0]), 60, np.random.default_rng(1))
    assert np.all(walked == np.log(5.0))


def bars(high: float, low: float = 99.0) -> Bars:
    columns = {"open": 100.0, "high": high, "low": low, "close": 101.0, "volume": 1.0}
    one = {name: np.full((2, 1), value) for name, value in columns.items()}
    return Bars(bar_ms=HOUR_MS, start_ms=0, **one)


def test_within__print_that_another_venue_lacks__is_held_to_it() -> None:
    held = within(bars(high=323.0, low=10.0), bars(high=102.0))
    assert held.high.max() == pytest.approx(102.0 * 1.03)
    assert held.low.min() == pytest.approx(99.0 * 0.97)


def test_path_of__same_seed__is_the_same_walk_inside_its_bars() -> None:
    made = crises.made_up(crises.QUICK)
    start_ms = int(crises.QUICK.start.timestamp() * 1_000)
    one, other = (path_of(made, crises.QUICK.symbols, start_ms, 7) for _ in range(2))
    np.testing.assert_array_equal(one.minutes.close, other.minutes.close)
    hours = one.minutes.close[LEAD_MINUTES:].reshape(-1, 60, 2)
    recorded = made.low[-len(hours) :], made.high[-len(hours) :]
    assert np.all(hours.min(axis=1) >= recorded[0] * (1 - 1e-12))
    assert np.all(hours.max(axis=1) <= recorded[1] * (1 + 1e-12))


def test_tiers__before_the_first_snapshot__are_the_first_ones() -> None:
    rows = [("2022-02-13", 0.01), ("2022-06-01", 0.02)]
    table = pd.DataFrame(
        {
            "symbol": "AAA/USDT:USDT",
            "snapshot": [pd.Timestamp(day, tz="UTC") for day, _ in rows],
            "min_notional": 0.0,
            "max_notional": 1e9,
            "mmr": [rate for _, rate in rows],
        }
    )
    tiers = Tiers(table)
    at = [int(pd.Timestamp(day, tz="UTC").timestamp() * 1_000) for day in ("2020-03-12", "2022-07")]
    assert [tiers.cap_e2("AAA/USDT", 100_000, each) for each in at] == [5_000, 2_500]


def liquidation(entry: float, collateral: float) -> Liquidation:
    return Liquidation(
        minute=1,
        row=0,
        side=1,
        size=1e18,
        entry=entry * 1e18,
        collateral=collateral * 1e6,
        ratio=0.01,
        notional_usdc=100.0,
        bad_debt_usdc=0.0,
        drawn_usdc=0.0,
        collected_usdc=0.0,
        by_ramp=False,
    )


def test_survivors__margin_that_lasts_and_margin_that_does_not__half() -> None:
    made = crises.made_up(crises.QUICK)
    walk = path_of(made, crises.QUICK.symbols, int(crises.QUICK.start.timestamp() * 1_000), 1)
    price = float(walk.minutes.close[LEAD_MINUTES + 1, 0])
    lasts, breaks = liquidation(price, price), liquidation(price * 1.5, price * 0.01)
    assert survivors([lasts, breaks], walk) == 0.5


def test_crises__made_up_candles__give_figures_of_every_peer(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert crises.main(["--quick", "--accounts", "12", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [row["peer"] for row in found["replays"]] == list(PEERS)
    ours = found["replays"][0]
    assert ours["opened_usdc"] > 0
    assert 1 <= ours["used"] <= ours["allowed"]
    assert len(found["artifact"]) == 64


def test_crises__unknown_name__says_which_there_are() -> None:
    with pytest.raises(SystemExit, match="2020-03"):
        crises._chosen("1929-10")


@pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
def test_contracts__every_call_of_a_replay__answer_as_the_mirror_did() -> None:
    found = quick_sample(8)
    assert found.calls["post"] > 1_000
    assert found.liquidations > 0
