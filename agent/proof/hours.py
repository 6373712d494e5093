"""The hours that a joint simulation went over as evidence: a column a market, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from agent.errors import EvidenceError
from models.heads import HORIZONS_S
from models.risk_heads import CrossMarkets


def encode_hours(cross: CrossMarkets, markets: Iterable[int]) -> dict[str, Any]:
    """Write the markets that an account is in; the simulation reads no others."""
    return {
        str(int(market)): {
            "returns": cross.returns[:, market].tolist(),
            "deviations": cross.deviations[:, market].tolist(),
        }
        for market in sorted(markets)
    }


def decode_hours(content: Mapping[str, Any]) -> CrossMarkets:
    """Read them back.

    Raises
    ------
    EvidenceError
        They are not what `encode_hours` writes.
    """
    try:
        columns = {int(market): each for market, each in content.items()}
        rows = {len(each["returns"]) for each in columns.values()}
        (count,) = rows
        shape = (len(HORIZONS_S), 1 + max(columns))
        returns = np.zeros((count, shape[1]), dtype=np.float64)
        deviations = np.full(shape, np.nan, dtype=np.float64)
        for market, each in columns.items():
            returns[:, market] = each["returns"]
            deviations[:, market] = each["deviations"]
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise EvidenceError(f"the bundle holds no readable hours: {fault!r}") from fault
    return CrossMarkets(returns=returns, deviations=deviations)
