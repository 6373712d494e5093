"""An account's own history as the models read it, and its risk in words for its owner; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from contracts.units import MS_PER_S, PPM
from models.accounts import (
    LOOK_BACK_MS,
    NAMES,
    TRADES_BELIEVED,
    AccountRisk,
    AccountScore,
    AccountTable,
    account_table,
)
from models.population import Trades
from relayer.chain.index_lives import OPEN, PastTrade

ITSELF: Final = np.zeros(1, dtype=np.int64)
"""An account's number in its own history."""
ORIGIN: Final = "the engine's events"
NEVER_MS: Final = 2**62
LOOK_BACK_DAYS: Final = LOOK_BACK_MS // 86_400_000
MORE_TRADES: Final = 10
_LEVERAGE: Final = ("cap_share_mean", "cap_share_most")
_LIQUIDATED: Final = ("liquidations", "liquidated_share", "liquidated_lately")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An account's score, what it rests on, and what would change it, in words."""

    score: AccountScore
    reasons: tuple[str, ...]
    changes: tuple[str, ...]


def trades_from(past: Sequence[PastTrade]) -> Trades:
    """Lay an account's trades out in columns; in them it is account number 0.

    The leverage that terms allowed follows from their ratio: 1 ÷ (2 × maintenance).
    """
    return Trades(
        origin=ORIGIN,
        account=np.zeros(len(past), dtype=np.int64),
        market=_whole([each.market for each in past]),
        side=_whole([1 if each.long else -1 for each in past]),
        opened_ms=_whole([each.opened_s * MS_PER_S for each in past]),
        closed_ms=_whole(
            [NEVER_MS if each.end == OPEN else each.closed_s * MS_PER_S for each in past]
        ),
        leverage=_real([each.leverage_e2 / 100 for each in past]),
        cap=_real([PPM / (2 * each.maintenance_ppm) for each in past]),
        notional_usdc=_real([each.notional / 1e6 for each in past]),
        end=_whole([each.end for each in past]),
    )


def profile_of(risk: AccountRisk, history: Trades, now_ms: int) -> Profile:
    """Judge an account by its own history, and say why and what would change it."""
    table = account_table(history, ITSELF, now_ms)
    (score,) = risk.score(table)
    return Profile(score=score, reasons=_reasons(table), changes=_changes(risk, table, score))


def _reasons(table: AccountTable) -> tuple[str, ...]:
    """Say what the score rests on."""
    count, row = int(table.trades[0]), dict(zip(NAMES, table.values[0], strict=True))
    if not count:
        return ("no trade of its own yet: the prior counts, which is below the best",)
    own = count / (count + TRADES_BELIEVED)
    liquidations = round(float(np.expm1(row["liquidations"])))
    said = [
        f"{count} trades in {LOOK_BACK_DAYS} days: its own history weighs {own:.0%}",
        f"of the leverage allowed it used {row['cap_share_mean']:.0%} on average",
        f"and {row['cap_share_most']:.0%} at most",
        f"it was liquidated {liquidations} times" if liquidations else "it was never liquidated",
        f"a position is held {np.exp(row['holding']):.0f} h, as a rule",
        f"concentration in one market: {row['concentration']:.0%}",
    ]
    return tuple(said)


def _changes(risk: AccountRisk, table: AccountTable, score: AccountScore) -> tuple[str, ...]:
    """Say what share of the cap the account would have, were one thing different."""
    supposed = [(f"{MORE_TRADES} more trades like these", _with_more(table))]
    if score.has_history:
        supposed.append(("half of that leverage", _scaled(table, _LEVERAGE, 0.5)))
    if table.values[0][NAMES.index("liquidations")] > 0:
        supposed.append(("no liquidation in the time looked at", _scaled(table, _LIQUIDATED, 0.0)))
    if not score.has_history:
        return (f"trades of its own: careful ones raise the share of {score.multiplier:.0%}",)
    return tuple(
        f"with {what} its share of caps would be {float(risk.multiplier(other)[0]):.0%}, "
        f"not {score.multiplier:.0%}"
        for what, other in supposed
    )


def _with_more(table: AccountTable) -> AccountTable:
    return replace(table, trades=table.trades + MORE_TRADES)


def _scaled(table: AccountTable, names: Sequence[str], factor: float) -> AccountTable:
    values = table.values.copy()
    for name in names:
        values[:, NAMES.index(name)] *= factor
    if "cap_share_mean" in names:
        values[:, NAMES.index("leverage")] += np.log(factor)
    return replace(table, values=values)


def _whole(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def _real(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)
