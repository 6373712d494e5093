"""Draw the simulator's stylised facts beside those of recorded markets, as docs/stylised-facts.svg.

    python -m benchmarks.stylised_facts DATA [--out docs/stylised-facts.svg]

DATA is a parquet file of hourly candles of several markets (`symbol, ts, close`); hours from 2025
on are left out. Facts after R. Cont, Empirical properties of asset returns, Quantitative Finance 1
(2001): fat tails, slow decay of the autocorrelation of sizes, and the leverage effect.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relayer.local.simulation import Common, Simulation, market_steps

Floats = NDArray[np.float64]

BEFORE: Final = np.datetime64("2025-01-01")
SINCE: Final = np.datetime64("2021-01-01")  # all nine perpetuals of the recorded file trade by then
SIZE_LAGS: Final = (1, 2, 3, 6, 12, 24, 48, 96, 168, 336)
SIGNED_LAGS: Final = (1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48)
TAIL_LEVELS: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
SIMULATED_DAYS: Final = 730
PANEL: Final = (300, 220)
MARGIN: Final = 46
COLOURS: Final = {"recorded": "#1f5fa8", "simulated": "#c8501e"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Medians over markets, with the second lowest and second highest market around them."""

    sizes: Floats  # autocorrelation of |r|, shape (3, lags): low, median, high
    signed: Floats  # correlation of r now with |r| later
    tails: Floats  # share of hours beyond so many standard deviations
    kurtosis: float
    together: float  # mean correlation of two markets
    volatility: float  # a year


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture: what is shown, at which places, and on which axes."""

    title: str
    places: Sequence[float]
    pick: Callable[[Facts], Floats]
    log_x: bool = False
    log_y: bool = False


PANELS: Final = (
    Panel(
        title="Clustering: |r| with |r| so many hours later",
        places=SIZE_LAGS,
        pick=lambda facts: facts.sizes,
        log_x=True,
    ),
    Panel(
        title="Tails: hours beyond so many standard deviations",
        places=TAIL_LEVELS,
        pick=lambda facts: facts.tails,
        log_x=True,
        log_y=True,
    ),
    Panel(
        title="Leverage: r with |r| so many hours later",
        places=SIGNED_LAGS,
        pick=lambda facts: facts.signed,
    ),
)


def main() -> None:
    """Compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/stylised-facts.svg"))
    asked = parser.parse_args()
    if not asked.data.exists():
        raise SystemExit(f"{asked.data} is not here: there is nothing to compare with")
    recorded = recorded_hours(asked.data)
    facts = {
        "recorded": facts_of(recorded),
        "simulated": facts_of(simulated_hours(recorded.shape[1])),
    }
    asked.out.write_text(draw(facts), encoding="utf-8")
    for name, each in facts.items():
        print(name, summary(each))


def recorded_hours(path: Path) -> Floats:
    """Read hourly log returns that all markets have, shape (hours, markets)."""
    table = pq.read_table(path, columns=["symbol", "ts", "close"])
    symbols = np.array(table["symbol"].to_pylist())
    times = table["ts"].to_numpy().astype("datetime64[ms]")
    closes = table["close"].to_numpy().astype(np.float64)
    inside = (times >= SINCE) & (times < BEFORE)
    kept = {
        name: dict(zip(times[rows].tolist(), closes[rows].tolist(), strict=True))
        for name in sorted(set(symbols))
        if (rows := inside & (symbols == name)).any()
    }
    shared = sorted(set.intersection(*(set(each) for each in kept.values())))
    prices = np.array([[each[at] for at in shared] for each in kept.values()]).T
    returns: Floats = np.diff(np.log(prices), axis=0)
    return returns


def simulated_hours(markets: int) -> Floats:
    """Simulate as many markets."""
    wanted = Simulation(markets=markets, days=SIMULATED_DAYS, seed=1)
    common = Common(wanted)
    columns = [
        market_steps(common, rank, wanted).sum(axis=1).reshape(-1, 60).sum(axis=1)
        for rank in range(markets)
    ]
    return np.array(columns).T


def facts_of(returns: Floats) -> Facts:
    """Measure the facts of hourly returns."""
    scaled = returns / returns.std(axis=0)
    sizes = np.abs(scaled)
    upper = np.triu_indices(returns.shape[1], 1)
    return Facts(
        sizes=_range([_lagged(sizes, sizes, lag) for lag in SIZE_LAGS]),
        signed=_range([_lagged(scaled, sizes, lag) for lag in SIGNED_LAGS]),
        tails=_range([(sizes > level).mean(axis=0) for level in TAIL_LEVELS]),
        kurtosis=float(np.median((scaled**4).mean(axis=0)) - 3),
        together=float(np.asarray(np.corrcoef(returns.T))[upper].mean()),
        volatility=float(np.median(returns.std(axis=0)) * np.sqrt(24 * 365)),
    )


def _lagged(before: Floats, after: Floats, lag: int) -> Floats:
    """Correlate each market's column with its later self."""
    one, other = before[:-lag], after[lag:]
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    found: Floats = (one * other).mean(axis=0) / one.std(axis=0) / other.std(axis=0)
    return found


def _range(columns: Sequence[Floats]) -> Floats:
    """Give second lowest, median and second highest market."""
    ordered = np.sort(np.array(columns), axis=1)
    return np.array([ordered[:, 1], np.median(ordered, axis=1), ordered[:, -2]])


def summary(facts: Facts) -> str:
    """Say the single numbers."""
    return (
        f"{facts.volatility:.0%} a year, excess kurtosis {facts.kurtosis:.0f}, "
        f"two markets correlate {facts.together:.2f}"
    )


def draw(facts: dict[str, Facts]) -> str:
    """Write the picture."""
    width, height = PANEL[0] + 2 * MARGIN, PANEL[1] + 2 * MARGIN
    box = f'viewBox="0 0 {3 * width} {height + 50}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11">',
        f'<rect width="{3 * width}" height="{height + 50}" fill="white"/>',
    ]
    for number, panel in enumerate(PANELS):
        parts.append(f'<g transform="translate({number * width + MARGIN},{MARGIN})">')
        parts += _panel(panel, facts)
        parts.append("</g>")
    for row, (name, each) in enumerate(facts.items()):
        y = height + 12 + 18 * row
        colour = COLOURS[name]
        box = f'x="{MARGIN}" y="{y - 9}" width="14" height="9"'
        parts.append(f'<rect {box} fill="{colour}"/>')
        parts.append(f'<text x="{MARGIN + 20}" y="{y}">{name}: {summary(each)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, facts: dict[str, Facts]) -> list[str]:
    """Draw one panel: for each source a band over markets and its median."""
    curves = {name: panel.pick(each) for name, each in facts.items()}
    every = np.concatenate([curve.ravel() for curve in curves.values()])
    low, high = (max(1e-4, every.min()), every.max()) if panel.log_y else (every.min(), every.max())
    low, high = (low, high) if panel.log_y else (min(0.0, low) * 1.1, max(0.0, high) * 1.1)
    right = _axis((panel.places[0], panel.places[-1]), PANEL[0], log=panel.log_x)
    up = _axis((low, high), PANEL[1], log=panel.log_y)
    parts = [f'<text x="0" y="-14" font-weight="bold" font-size="10">{panel.title}</text>']
    parts.append(f'<rect width="{PANEL[0]}" height="{PANEL[1]}" fill="none" stroke="#888"/>')
    ticks = panel.places[:: 2 if len(panel.places) > 9 else 1]
    parts += [_label(f"{tick:g}", (right(tick), PANEL[1] + 14.0), "middle") for tick in ticks]
    for value in (low, high) if panel.log_y else (low, 0.0, high):
        y = PANEL[1] - up(value)
        parts.append(_label(f"{value:.2g}", (-4.0, y + 4), "end"))
        parts.append(f'<path d="M0 {y:.1f}H{PANEL[0]}" stroke="#ddd"/>')
    for name, curve in curves.items():
        lines = [
            [(right(x), PANEL[1] - up(max(low, y))) for x, y in zip(panel.places, row, strict=True)]
            for row in curve
        ]
        colour, band = COLOURS[name], _path(lines[0] + lines[2][::-1])
        parts.append(f'<path d="{band}Z" fill="{colour}" fill-opacity="0.15"/>')
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<path d="{_path(lines[1])}" {style}/>')
    return parts


def _label(text: str, at: tuple[float, float], anchor: str) -> str:
    """Write a few words."""
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}">{text}</text>'


def _axis(ends: tuple[float, float], length: int, *, log: bool) -> Callable[[float], float]:
    """Give the place of a value along an axis."""
    first, last = np.log(ends) if log else ends

    def place(value: float) -> float:
        at = float(np.log(value)) if log else value
        return float((at - first) / (last - first) * length)

    return place


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Join points by lines."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


if __name__ == "__main__":
    main()
