"""What replays came to: figures of one replay, and tables over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.crises_floor import MEASURED_MINUTES, Liquidation, Record
from benchmarks.crises_prices import LEAD_MINUTES, Walk

SURVIVES_MINUTES: Final = 60
COLUMNS: Final = (
    ("bad_debt_usdc", "bad debt", 0),
    ("drawn_usdc", "insurance drawn", 0),
    ("liquidated_usdc", "liquidated", 0),
    ("liquidations", "liquidations", 0),
    ("survivors", "would have survived", 2),
    ("by_ramp", "by the ramp", 2),
    ("cap", "cap", 2),
    ("allowed", "allowed", 2),
    ("used", "used", 2),
    ("open_share", "may open", 2),
    ("opened_usdc", "opened", 0),
    ("held_usdc", "held", 0),
    ("pool_usdc", "pool result", 0),
)
"""Key, heading, decimals."""


def figures(record: Record, walk: Walk, warm_minutes: int) -> dict[str, float]:
    """Add up one replay, its warm-up left out."""
    ended = [each for each in record.liquidations if each.minute > warm_minutes]
    opened = [each for each in record.openings if each.minute > warm_minutes]
    worth = np.array([each.notional_usdc for each in opened])
    total = float(worth.sum())

    def weighted(values: Iterable[float]) -> float:
        return float(np.dot(list(values), worth) / total) if total else 0.0

    first = warm_minutes // MEASURED_MINUTES
    caps = np.array(record.caps)[first:]
    may_open = np.array(record.may_open)[first:]
    return {
        "bad_debt_usdc": sum(each.bad_debt_usdc for each in ended),
        "drawn_usdc": sum(each.drawn_usdc for each in ended),
        "liquidated_usdc": sum(each.notional_usdc for each in ended),
        "liquidations": float(len(ended)),
        "positions_liquidated": float(len({(each.row, each.entry) for each in ended})),
        "survivors": survivors(ended, walk),
        "by_ramp": _share(ended, [each.by_ramp for each in ended]),
        "cap": float(caps.mean()),
        "allowed": weighted(each.allowed for each in opened),
        "used": weighted(each.used for each in opened),
        "wanted": weighted(each.wanted for each in opened),
        "open_share": float(may_open.mean()),
        "opened_usdc": total,
        "turned_away": float(sum(minute > warm_minutes for minute in record.turned_away)),
        "held_usdc": float(np.mean(record.held_usdc[first:])),
        "pool_usdc": record.worth[-1] - record.worth[first],
        "insurance_usdc": record.insurance[-1] - record.insurance[first],
    }


def survivors(ended: Sequence[Liquidation], walk: Walk) -> float:
    """Give the share of liquidated notional that would have survived an hour untouched.

    It survives if its margin never ran out in the next 60 minutes, and at their end it stood at or
    above maintenance again.
    """
    return _share(ended, [_survives(each, walk) for each in ended])


def _share(ended: Sequence[Liquidation], chosen: Sequence[bool]) -> float:
    """Give the share of liquidated notional that was chosen; 0 where none was liquidated."""
    total = sum(each.notional_usdc for each in ended)
    part = sum(each.notional_usdc for each, kept in zip(ended, chosen, strict=True) if kept)
    return part / total if total else 0.0


def _survives(each: Liquidation, walk: Walk) -> bool:
    market = each.row % len(walk.symbols)
    first = LEAD_MINUTES + each.minute
    prices = walk.minutes.close[first : first + SURVIVES_MINUTES, market]
    if not len(prices):
        return False
    size, entry = each.size / 1e18, each.entry / 1e18
    equity = each.collateral / 1e6 + each.side * size * (prices - entry)
    return bool(equity.min() > 0.0 and equity[-1] >= size * prices[-1] * each.ratio)


def table_of(rows: Sequence[dict[str, Any]], crisis: str) -> str:
    """Write one crisis' peers as a table: means over seeds, and the range beneath."""
    peers = list(dict.fromkeys(row["peer"] for row in rows if row["crisis"] == crisis))
    heads = [heading for _, heading, _ in COLUMNS]
    lines = [f"| {crisis} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for peer in peers:
        own = [r for r in rows if r["crisis"] == crisis and r["peer"] == peer]
        cells = [_cell([row[key] for row in own], digits) for key, _, digits in COLUMNS]
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: Sequence[float], digits: int) -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:,.{digits}f}"
    return f"{mean:,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
