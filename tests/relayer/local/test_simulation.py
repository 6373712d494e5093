"""The simulator: seeded, labelled, with the stylised facts of recorded markets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relayer.local.errors import ScenarioError
from relayer.local.faults import VenueMode
from relayer.local.replay import load_funding, load_recording
from relayer.local.scenario import read_simulation
from relayer.local.server import ServerSettings, build_world
from relayer.local.simulation import (
    Common,
    Crash,
    Simulation,
    market_steps,
    write_simulation,
)

SHIPPED = Path(__file__).parents[3] / "config/scenarios/simulated.toml"


@pytest.fixture(scope="module")
def hours() -> np.ndarray:
    """Hourly log returns of eight markets over two hundred days, shape (hours, markets)."""
    wanted = Simulation(markets=8, days=200, seed=5)
    common = Common(wanted)
    steps = [market_steps(common, rank, wanted) for rank in range(8)]
    return np.array([each.sum(axis=1).reshape(-1, 60).sum(axis=1) for each in steps]).T


def test_written__same_seed_same_rows_and_labelled(tmp_path: Path) -> None:
    wanted = Simulation(markets=3, days=4, seed=9)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_simulation(tmp_path / name / "x.parquet", wanted)
    one, other = (load_recording(tmp_path / name / "x.parquet") for name in ("a", "b"))
    assert one.synthetic
    assert [tape.base for tape in one.tapes] == ["BTC", "ETH", "SOL"]
    for tape, same in zip(one.tapes, other.tapes, strict=True):
        assert np.array_equal(tape.close, same.close)
    assert len(load_funding(tmp_path / "a/x.parquet")["BTC/USDC:USDC"][0]) == 11


def test_written__another_seed__other_rows(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_simulation(tmp_path / f"{seed}.parquet", Simulation(markets=1, days=4, seed=seed))
    one, other = (load_recording(tmp_path / f"{seed}.parquet").tapes[0] for seed in (1, 2))
    assert not np.array_equal(one.close, other.close)


def test_tails__fat(hours: np.ndarray) -> None:
    scaled = hours / hours.std(axis=0)
    kurtosis = np.median((scaled**4).mean(axis=0)) - 3
    assert 5 < kurtosis < 80


def test_volatility__clusters_for_days(hours: np.ndarray) -> None:
    sizes = np.abs(hours)
    found = [_lagged(sizes, sizes, lag) for lag in (1, 24)]
    assert 0.2 < found[0] < 0.5
    assert 0.05 < found[1] < found[0]


def test_volatility__rises_after_a_fall(hours: np.ndarray) -> None:
    sizes = np.abs(hours)
    assert np.mean([_lagged(hours, sizes, lag) for lag in (1, 3, 6, 12)]) < -0.005


def test_markets__move_together(hours: np.ndarray) -> None:
    together = np.corrcoef(hours.T)[np.triu_indices(8, 1)].mean()
    assert 0.5 < together < 0.8


def test_funding__follows_what_the_market_did(tmp_path: Path) -> None:
    write_simulation(tmp_path / "x.parquet", Simulation(markets=1, days=60, seed=3))
    [tape] = load_recording(tmp_path / "x.parquet").tapes
    times, rates = load_funding(tmp_path / "x.parquet")[tape.symbol]
    bars = np.searchsorted(tape.open_ms, times)
    late = bars > 3 * 1_440
    trend = np.log(tape.close[bars[late]] / tape.close[bars[late] - 3 * 1_440])
    assert np.corrcoef(trend, rates[late])[0, 1] > 0.5


def test_crash__falls_by_what_is_written_and_comes_back_in_part() -> None:
    quiet, falling = (
        Simulation(markets=1, days=4),
        Simulation(
            markets=1, days=4, crashes=(Crash(at_s=3_600, fall=0.2, minutes=20, recovery=0.5),)
        ),
    )
    common = Common(quiet)
    walks = [market_steps(common, 0, each).sum(axis=1) for each in (quiet, falling)]
    apart = np.cumsum(walks[1] - walks[0])
    start = 3 * 1_440 + 60
    assert apart[start - 1] == 0
    assert np.exp(apart[start + 20]) == pytest.approx(0.8)
    assert apart[start + 200] == pytest.approx(np.log(0.8) / 2)


def test_shipped__a_world_with_crash_and_outage(tmp_path: Path) -> None:
    settings = ServerSettings(
        state=tmp_path, replay=None, start_ms=None, speed=0.0, seed=1, scenario=SHIPPED
    )
    world = build_world(settings)
    assert world.recording.synthetic
    assert len(world.venues[0].instruments) == 20
    assert len(world.venues[0].faults.of(VenueMode.DOWN)) == 1
    world.clock.advance_to(world.clock.now_ms() + 10_000_000)
    calm = world.venues[1].view(world.venues[1].instruments[0])
    world.clock.advance_to(world.clock.now_ms() + 1_700_000)
    crashed = world.venues[1].view(world.venues[1].instruments[0])
    assert crashed.top.mid < 0.9 * calm.top.mid
    assert crashed.top.half_spread > calm.top.half_spread


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("markets = 0", "markets 1 to 400"),
        ("days = 3", "days 4 to 60"),
        ("market = 3", "did you mean markets"),
        ("[[simulation.crash]]\nfall = 2.0", "fall is a share"),
        ("[[simulation.crash]]\nfal = 0.2", "did you mean fall"),
    ],
)
def test_simulation__wrong__refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"[simulation]\n{text}\n")
    with pytest.raises(ScenarioError, match=said):
        read_simulation(path)


def _lagged(before: np.ndarray, after: np.ndarray, lag: int) -> float:
    """The median market's correlation of one column with a later other."""
    columns = range(before.shape[1])
    return float(np.median([np.corrcoef(before[:-lag, n], after[lag:, n])[0, 1] for n in columns]))
