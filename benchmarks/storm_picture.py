"""Draw the demo's storm as docs/storm.svg: `python -m benchmarks.storm_picture [--out FILE]`.

The steps of `aml demo` that lead to its storm are taken on a fresh local world, and after each risk
cycle the contracts are read: mark, cap, maintenance, and the price at which the bold position could
be liquidated. The world is seeded and its clock moved by hand, so that each run draws the same.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent import app
from agent.config import Settings, load_settings
from agent.cycle import CycleResult
from agent.demo import margin_story as margin
from agent.demo import storm_story, story
from agent.demo.margin_stage import Margin
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import local_network
from agent.positions.keeper import TaskKind
from agent.positions.look import Turn
from contracts.margin import liquidation_price
from contracts.units import UsdcE6
from relayer.delivery.states import Effective
from relayer.local import client
from relayer.local.candles import CRASH_MS, PLAY_MS
from relayer.market.jumps import JumpWatch

STEPS: Final = (
    *(story.first_prices, story.first_parameters, margin.pool_requested, story.calm),
    *(margin.pool_entered, margin.isolated_long, margin.cross_long, margin.bold_positions),
    *(storm_story.storm, margin.expired_parameters),
)
MINUTE_MS, E18, PPM = 60_000, 10**18, 1_000_000
WIDTH, LEFT, RIGHT = 760.0, 64.0, 16.0
HEIGHTS: Final = (170.0, 80.0, 80.0)
TOP, GAP = 62.0, 30.0
EXPIRES_MIN = 15.0
TITLE = "A storm on the local chain, as the contracts held it"
FIRST = (
    'BTC: <tspan class="blue">mark</tspan>, and '
    '<tspan class="red">where an 8x long is liquidated</tspan>'
)
STYLE = """
:root{color-scheme:light dark}
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#3b4350}
.card{fill:#ffffff;stroke:#d5dae1}.title{font-size:15px;font-weight:600;fill:#171c24}
.grid{stroke:#e4e8ed}.mark{stroke:#1f5fa8}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.liquidation{stroke:#b3261e;stroke-dasharray:5 3}.cap{stroke:#7a3e9d}.maintenance{stroke:#2e7d4f}
.when{stroke:#7b8594;stroke-dasharray:2 3}.dot{fill:#c8501e}.number{font-weight:700;fill:#fff}
.over{fill:#7b8594;fill-opacity:.14}.red{fill:#b3261e}.blue{fill:#1f5fa8}
@media (prefers-color-scheme:dark){text{fill:#b6c0cc}.card{fill:#12161c;stroke:#313945}
.title{fill:#eef2f6}.grid{stroke:#262d37}.mark{stroke:#6cb0f5}.liquidation{stroke:#ff8a80}
.cap{stroke:#cf9cf0}.maintenance{stroke:#6fcf97}.red{fill:#ff8a80}.blue{fill:#6cb0f5}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The contracts after one cycle; `liquidation` None: the position is closed."""

    minute: float
    price: float
    cap: float
    maintenance: float
    liquidation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What was seen, by minutes from the beginning of the crash."""

    frames: list[Frame] = field(default_factory=list)
    events: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filmed(Stage):
    """The story's stage, with somebody who writes down what is seen."""

    film: Film

    async def cycle(self) -> CycleResult:
        """Decide once, and write down what the contracts hold then."""
        result = await Stage.cycle(self)
        found = next(m for m in (await self.standing()).markets if m.symbol == "BTC")
        self.film.frames.append(
            Frame(
                minute=(await self.now_ms() - CRASH_MS) / MINUTE_MS,
                price=found.price_e18 / E18,
                cap=found.cap_e2 / 100,
                maintenance=found.maintenance_ppm / PPM,
                liquidation=await self._liquidation(),
            )
        )
        return result

    async def keep(self) -> Turn:
        """Look after positions, and write down what is new."""
        turn = await Stage.keep(self)
        minute = (await self.now_ms() - CRASH_MS) / MINUTE_MS
        positions = self.daemon.positions
        warner = None if positions is None else positions.positions.warner
        if warner is not None and any(each.margin_to_add for each in warner.current()):
            self.film.events.setdefault("its owner is warned, with the exact cure", minute)
        if any(each.result == "effective" for each in turn.sent):
            self.film.events.setdefault("signers reduce it, without a penalty", minute)
        if any(_liquidates(each.task.kind, each.outcome) for each in turn.done):
            self.film.events.setdefault("a part of it is liquidated", minute)
        return turn

    async def _liquidation(self) -> float | None:
        held = await Margin(stage=self).position(margin.BOLD_TRADER, "BTC", margin.ISOLATED)
        if not held["size"]:
            return None
        size, entry = held["size"], held["entry_price"]
        at = liquidation_price(
            held["side"], size, entry, UsdcE6(held["collateral"]), held["ratio_ppm"]
        )
        return None if at is None else at / E18


def _liquidates(kind: TaskKind, outcome: object) -> bool:
    return "liquidate" in kind.value and isinstance(outcome, Effective) and not outcome.skipped


async def filmed(folder: Path) -> Film:
    """Take the steps, each checked as in the demo; give what was seen of the storm."""
    settings = quiet(load_settings("local"))
    world, film = client.status(folder).state, Film()
    network = local_network(world, folder)
    await deploy_network(network, settings, lambda _: None)
    async with app.daemon(network, settings, app.load_model(settings)) as running:
        seen = [JumpWatch(rules=settings.jumps)]
        stage = Filmed(
            world=world, daemon=running, settings=settings, say=_silent, seen=seen, film=film
        )
        for step in STEPS:
            print(f"{step.__name__}: {await step(stage)}")
    return Film(frames=[each for each in film.frames if each.minute > -31], events=film.events)


def _silent(_: str) -> None:
    """Say nothing."""


def quiet(settings: Settings) -> Settings:
    """Give the demo's settings: no ports of anybody else's, and actions are sent."""
    changed = {
        "metrics": settings.metrics.model_copy(update={"port": 0}),
        "http": None,
        "actions": settings.actions.model_copy(update={"mode": "execute"}),
    }
    return settings.model_copy(update=changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One strip of the picture, between its lowest and its highest value."""

    title: str
    top: float
    height: float
    low: float
    high: float
    write: Callable[[float], str]

    def y(self, value: float) -> float:
        """Give a value's place."""
        return self.top + self.height * (self.high - value) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The horizontal axis, in minutes."""

    first: float
    last: float

    def x(self, minute: float) -> float:
        """Give a minute's place."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (minute - self.first) / (self.last - self.first)


def drawn(film: Film) -> str:
    """Draw the picture."""
    frames = film.frames
    last = frames[-1].minute + EXPIRES_MIN
    times = Times(first=frames[0].minute, last=last + 3)
    prices, caps, ratios = _panels(frames)
    bottom = ratios.top + ratios.height
    events = sorted(film.events.items(), key=lambda each: each[1])
    events.append(("nobody renews for 15 minutes: no new position is opened", last))
    parts = [_frame(bottom + 40 + 18 * len(events)), _over(times, last, bottom)]
    parts += [_axes(panel) for panel in (prices, caps, ratios)]
    parts += [
        _steps(times, caps, [(f.minute, f.cap) for f in frames], "cap", last),
        _steps(times, ratios, [(f.minute, f.maintenance) for f in frames], "maintenance", last),
        _line(times, prices, [(f.minute, f.price) for f in frames], "mark"),
        _steps(
            times,
            prices,
            [(f.minute, f.liquidation) for f in frames if f.liquidation],
            "liquidation",
        ),
        _clock(times, bottom + 16),
    ]
    parts += [
        _event(n, each, times, (TOP - 6, bottom), bottom + 40 + 18 * (n - 1))
        for n, each in enumerate(events, 1)
    ]
    height = bottom + 44 + 18 * len(events)
    view = f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" height="{height:.0f}"'
    said = (
        "The demo's storm: mark price, leverage cap and maintenance ratio of BTC, minute by minute"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img" aria-label="{said}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def _panels(frames: Sequence[Frame]) -> tuple[Panel, Panel, Panel]:
    shown = [f.price for f in frames] + [f.liquidation for f in frames if f.liquidation]
    first, second, third = HEIGHTS
    top, low, high = TOP + first + GAP, min(shown), max(shown)
    room = 0.05 * (high - low)
    return (
        Panel(title=FIRST, top=TOP, height=first,
              low=low - room, high=high + room, write=lambda v: f"{v:,.0f}"),
        Panel(title="Leverage cap for new risk: tightened at once", top=top, height=second,
              low=0.0, high=1.15 * max(f.cap for f in frames), write=lambda v: f"{v:.0f}x"),
        Panel(title="Maintenance ratio of open positions: rises by a ramp, with notice",
              top=top + second + GAP, height=third, low=0.95 * min(f.maintenance for f in frames),
              high=1.05 * max(f.maintenance for f in frames), write=lambda v: f"{v:.1%}"),
    )  # fmt: skip


def _frame(height: float) -> str:
    rect = (
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1:.0f}" height="{height:.0f}" rx="8"/>'
    )
    return rect + f'<text class="title" x="16" y="26">{TITLE}</text>'


def _over(times: Times, since: float, bottom: float) -> str:
    x = times.x(since)
    place = f'x="{x:.1f}" y="{TOP - 6}" width="{WIDTH - RIGHT - x:.1f}"'
    return f'<rect class="over" {place} height="{bottom - TOP + 6:.1f}"/>'


def _axes(panel: Panel) -> str:
    rows = [f'<text x="{LEFT}" y="{panel.top - 8:.1f}">{panel.title}</text>']
    for value in _round_numbers(panel.low, panel.high):
        y = panel.y(value)
        rows.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        rows.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{panel.write(value)}</text>'
        )
    return "".join(rows)


def _round_numbers(low: float, high: float) -> list[float]:
    """Give two to four round numbers in between."""
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (power / 2, power, 2 * power, 5 * power) if (high - low) / s < 4)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _line(times: Times, panel: Panel, points: Sequence[tuple[float, float]], name: str) -> str:
    path = " ".join(f"{times.x(minute):.1f},{panel.y(value):.1f}" for minute, value in points)
    return f'<polyline class="line {name}" points="{path}"/>'


def _steps(
    times: Times,
    panel: Panel,
    points: Sequence[tuple[float, float | None]],
    name: str,
    until: float | None = None,
) -> str:
    """Draw what holds until it is changed."""
    found: list[tuple[float, float]] = []
    for minute, value in points:
        if value is not None:
            found += [(minute, found[-1][1])] if found else []
            found.append((minute, value))
    found += [(until, found[-1][1])] if until is not None else []
    return _line(times, panel, found, name)


def _clock(times: Times, y: float) -> str:
    """Write minutes from the crash on."""
    minutes = range(-30, round(times.last) + 1, 10)
    words = {0: "the crash begins"} | {m: f"{m:+d} min" for m in minutes if m}
    return "".join(
        f'<text x="{times.x(m):.1f}" y="{y:.1f}" text-anchor="middle">{words[m]}</text>'
        for m in minutes
        if times.first <= m <= times.last
    )


def _event(
    number: int, event: tuple[str, float], times: Times, span: tuple[float, float], row: float
) -> str:
    """Mark an instant by a number, and say below what it was."""
    words, minute = event
    x, (top, bottom) = times.x(minute), span
    return (
        f'<line class="when" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom:.1f}"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{top - 6:.1f}" r="8"/>'
        f'<text class="number" x="{x:.1f}" y="{top - 2:.1f}" text-anchor="middle">{number}</text>'
        f'<circle class="dot" cx="{LEFT + 8}" cy="{row - 4:.1f}" r="8"/>'
        f'<text class="number" x="{LEFT + 8}" y="{row:.1f}" text-anchor="middle">{number}</text>'
        f'<text x="{LEFT + 24}" y="{row:.1f}">{words}, {minute:+.0f} min</text>'
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the storm, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/storm.svg"))
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="aml-storm-") as name:
        folder = Path(name)
        start = datetime.fromtimestamp(PLAY_MS / 1_000 + 3_600, tz=UTC)
        client.start(folder, start_at=start, chain_time=True)
        try:
            film = asyncio.run(filmed(folder))
        finally:
            client.stop(folder)
    chosen.out.write_text(drawn(film))
    print(f"{chosen.out}: {len(film.frames)} cycles, {chosen.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
