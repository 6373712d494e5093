"""How likely a position or a cross account is to be liquidated, over every horizon; pure.

By the trained heads: first passage where one price decides, the joint simulation of its markets
for a cross account. Without trained heads the textbook's formula stands in, and the method says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from agent.positions.ahead import Ahead
from agent.positions.levels import Chances, Floats, textbook
from agent.quoting.joint import can_simulate, cross_account
from contracts.book import Book
from contracts.book_margin import Standing
from contracts.book_readings import Readings
from contracts.book_words import CROSS, PositionId, split_position_id
from contracts.units import PriceE18
from models.heads import HORIZONS_S
from models.liquidation import Exposure
from models.risk_heads import RiskHeads, liquidation_probability

E18 = 10**18


class Method(StrEnum):
    """How a probability was computed."""

    TEXTBOOK = "reflection"
    ALONE = "first_passage"
    TOGETHER = "joint_simulation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """Probabilities over `HORIZONS_S`, never falling, and by which method."""

    probabilities: tuple[float, ...]
    method: Method

    def within(self, horizon_s: int) -> float:
        """Give the chance within one of the horizons."""
        return self.probabilities[HORIZONS_S.index(horizon_s)]


def trained(heads: RiskHeads | None) -> Chances:
    """Give what turns distances into probabilities: the trained heads, else the textbook."""
    if heads is None:
        return textbook

    def chances(side: int, distances: Floats, deviations: tuple[float, ...]) -> Floats:
        columns = []
        for head, deviation in zip(heads.passages, deviations, strict=True):
            passage = head.long if side > 0 else head.short
            columns.append(passage.predict(distances, np.full(len(distances), deviation)))
        table: Floats = np.maximum.accumulate(np.stack(columns, axis=1), axis=1)
        return np.minimum(table, 1.0)

    return chances


def odds_alone(
    own: Standing, fatal: PriceE18 | None, ahead: Ahead, heads: RiskHeads | None
) -> Odds | None:
    """Judge a position by its own liquidation price; None without a forecast of its market."""
    foresight = ahead.markets.get(own.now.market)
    if foresight is None or own.position.size == 0:
        return None
    exposure = Exposure(
        position=0,
        side=own.position.side,
        price=own.now.price / E18,
        liquidation_price=None if fatal is None else fatal / E18,
        deviations=foresight.deviations,
    )
    distance = exposure.distance
    if distance <= 0.0:
        certain = (1.0,) * len(HORIZONS_S)
        return Odds(probabilities=certain, method=Method.ALONE if heads else Method.TEXTBOOK)
    if heads is None:
        none = (0.0,) * len(HORIZONS_S)
        row = textbook(exposure.side, np.array([distance]), foresight.deviations)[0]
        found = tuple(float(each) for each in row) if np.isfinite(distance) else none
        return Odds(probabilities=found, method=Method.TEXTBOOK)
    score = liquidation_probability(heads, exposure)
    return Odds(probabilities=score.probabilities, method=Method.ALONE)


def odds_together(
    book: Book, readings: Readings, identity: PositionId, ahead: Ahead, heads: RiskHeads | None
) -> Odds | None:
    """Judge a cross account by its markets together; None where that cannot be simulated."""
    account, _, mode = split_position_id(identity)
    if mode != CROSS or heads is None or ahead.cross is None:
        return None
    held = cross_account(book, readings, account)
    if not held.positions or not can_simulate(held, ahead.cross):
        return None
    score = liquidation_probability(heads, held, ahead.cross)
    return Odds(probabilities=score.probabilities, method=Method.TOGETHER)
