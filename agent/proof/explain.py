"""A decision in plain words, from its evidence: what changed for each market, and why; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.oracle_meanings import ORACLE_MEANINGS
from contracts.refusals import Refusal
from contracts.risk_oracle import MarketState
from contracts.units import MarketId
from models.heads import HORIZONS_S

MOVED = 0.02  # a change of a feature or score by less than this share is no reason
MONEY = 100.0  # what stands above it is an amount; the other features are logarithms and ratios
NAMED = 3  # features that are named, the furthest moved first
NAMES: Mapping[int, str] = {900: "15 min", 3_600: "1 h", 14_400: "4 h", 86_400: "24 h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One market's part of a decision: a headline, and what it rests on, one sentence each."""

    symbol: str
    headline: str
    because: tuple[str, ...]


def explain_risk(
    fields: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    states: Mapping[MarketId, MarketState],
    symbols: Mapping[MarketId, str],
    skipped: Mapping[MarketId, Refusal],
) -> tuple[Told, ...]:
    """Explain every market of a risk update.

    `before` is the evidence of the decision before, where it is kept; `states` are what the chain
    held when this one was made, `skipped` what the contract left out.
    """
    names = [name for name in fields if name.startswith("outcome/")]
    markets = sorted(MarketId(int(name.split("/")[1])) for name in names)
    return tuple(
        Told(
            symbol=symbols.get(market, str(market)),
            headline=_headline(market, fields, states.get(market), skipped.get(market)),
            because=tuple(_because(market, fields, before)),
        )
        for market in markets
    )


def _headline(
    market: MarketId,
    fields: Mapping[str, Any],
    state: MarketState | None,
    skipped: Refusal | None,
) -> str:
    """Say in one line what became of a market."""
    outcome = fields[f"outcome/{market}"]
    if "hold" in outcome:
        return f"nothing was done: {outcome['hold'].replace('_', ' ')}. {outcome['detail']}"
    asked = outcome["parameters"]
    changes = _changes(asked, state)
    move = {"tighten": "tightened", "loosen": "loosened"}.get(outcome["move"], "renewed")
    said = f"{move}: {', '.join(changes)}" if changes else f"{move}, unchanged"
    if outcome["note"]:
        said += f" ({outcome['note']})"
    if skipped is not None:
        said += f"; the contract left it out: {ORACLE_MEANINGS.get(skipped, skipped.name)}"
    return said


def _changes(asked: Mapping[str, Any], state: MarketState | None) -> list[str]:
    """Name the parameters that a decision moves, from what to what."""
    if state is None:
        return [f"cap {asked['cap_e2'] / 100:.2f}x"]
    live, found = state.values, []
    if asked["cap_e2"] != live.cap_e2:
        found.append(f"cap {live.cap_e2 / 100:.2f}x to {asked['cap_e2'] / 100:.2f}x")
    rows = (
        ("open interest cap", live.open_interest_cap_usdc, asked["open_interest_cap_usdc"]),
        ("size scale", live.size_scale_usdc, asked["size_scale_usdc"]),
    )
    found += [f"{name} {old:,} to {new:,} USDC" for name, old, new in rows if old != new]
    if asked["spread_ppm"] != live.spread_ppm:
        found.append(f"spread {live.spread_ppm / 1e4:.3f} % to {asked['spread_ppm'] / 1e4:.3f} %")
    if asked["reduce_only"] != live.reduce_only:
        found.append("reduce-only" if asked["reduce_only"] else "open to new positions again")
    return found


def _because(market: int, fields: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """Say what the policy read, and what of it moved since the decision before."""
    decision, scores = fields.get(f"decision/{market}"), fields.get(f"scores/{market}")
    found = list(decision["reasons"]) if decision else []
    found[:1] = [f"the policy wants this: {each}" for each in found[:1]]
    found += _impact(market, fields)
    if scores is None:
        return found
    found.append(_volatility(scores))
    if scores["out_of_domain"]:
        outside = "; ".join(scores["out_of_domain"])
        found.append(f"outside of what the model was trained on: {outside}")
    if before is None:
        return found
    earlier = before.get(f"scores/{market}")
    if earlier:
        found += _moved_scores(earlier, scores)
    now, then = fields.get(f"features/{market}"), before.get(f"features/{market}")
    if now and then:
        found += _moved_features(then, now)
    return found


def _impact(market: int, fields: Mapping[str, Any]) -> list[str]:
    """Say what a step would do to open positions, and who released it where somebody did."""
    weighed = fields.get(f"impact/{market}")
    if weighed is None:
        return []
    found = [f"what is open: {weighed['detail']}"]
    for each in fields.get("approvals", ()):
        if each["number"] == weighed["approval"]:
            why = f": {each['why']}" if each["why"] else ", without a reason"
            found.append(f"released by {each['by']} at {moment(each['at_ms'])}{why}")
    return found


def _volatility(scores: Mapping[str, Any]) -> str:
    pairs = zip(HORIZONS_S, scores["volatility"], strict=True)
    said = ", ".join(f"{value:.2%} in {NAMES[horizon]}" for horizon, value in pairs)
    return f"forecast deviation {said}"


def _moved_scores(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the scores that moved, with their change."""
    rows = (
        ("the tail of a long over 15 min", then["tail_long"], now["tail_long"]),
        ("the tail of a short over 15 min", then["tail_short"], now["tail_short"]),
        ("the deviation of the next day", then["volatility"][-1], now["volatility"][-1]),
        ("stressed depth", then["stressed_depth_usdc"], now["stressed_depth_usdc"]),
    )
    return [
        f"{name} {'rose' if new > old else 'fell'} by {abs(new / old - 1):.0%} since the decision "
        "before"
        for name, old, new in rows
        if old and abs(new / old - 1) >= MOVED
    ]


def _moved_features(then: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Name the features that moved furthest."""
    shifts = {name: shift(then[name], now[name]) for name in now if name in then}
    moved = sorted(shifts, key=lambda name: -abs(shifts[name]))
    furthest = [name for name in moved[:NAMED] if abs(shifts[name]) >= MOVED]
    if not furthest:
        return ["no feature moved noticeably since the decision before"]
    said = ", ".join(f"{name} {shifts[name]:+.3f}" for name in furthest)
    return [f"what moved furthest in what the model reads: {said}"]


def shift(then: float, now: float) -> float:
    """Give how far a feature moved: money by its logarithm, logarithms and ratios as they are."""
    if min(then, now) > MONEY:
        return math.log(now / then)
    return now - then


def explain_price(fields: Mapping[str, Any], symbols: Mapping[MarketId, str]) -> tuple[Told, ...]:
    """Explain every market of a price round."""
    return tuple(
        Told(
            symbol=symbols.get(MarketId(int(market)), market),
            headline=f"a price of {int(mark['price_e18']) / 1e18:,.6g}",
            because=(
                f"it was due: {fields['triggers'].get(market, 'it rode along')}",
                f"median of {len(mark['venues'])} venues: {', '.join(mark['venues'])}",
                *([f"left out: {', '.join(mark['excluded'])}"] if mark.get("excluded") else []),
            ),
        )
        for market, mark in sorted(fields["marks"].items(), key=lambda each: int(each[0]))
    )


def moment(at_ms: int) -> str:
    """Write a time."""
    return datetime.fromtimestamp(at_ms / 1_000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
