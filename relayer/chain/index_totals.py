"""What the margin contracts publish of themselves at one block: totals, and each market's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from contracts.units import MarketId
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin_calls import TOTALS_FIELDS, TOTALS_VIEW
from relayer.chain.reads import Question, ask_at
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import MarginContracts
from relayer.chain.views import view

MARKET_FIELDS: Final = ("sizes", "long_sum", "short_sum", "flow", "rules", "settlement", "pot")
_MARKET: Final = view(
    "market(uint256)", "uint256", "int256", "int256", "uint256", "uint256", "uint256", "int256"
)
_COUNT: Final = view("market_count()", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The contracts' own sums after a block, as one endpoint gives them."""

    endpoint: str
    block: BlockStamp
    totals: Mapping[str, int]
    markets: Mapping[MarketId, tuple[int, ...]]
    market_count: int


async def read_published(
    endpoint: ChainEndpoint,
    margin: MarginContracts,
    block: tuple[int, bytes],
    markets: Iterable[MarketId],
) -> Published:
    """Read the totals as they were after a block, in one round trip.

    Raises
    ------
    ChainMoved
        The endpoint has another block of that number now.
    """
    known = tuple(markets)
    stamp, answers = await ask_at(
        endpoint,
        block,
        [
            Question("totals", TOTALS_VIEW, margin.views),
            Question("count", _COUNT, margin.engine),
            *(Question(f"market.{each}", _MARKET, margin.engine, (each,)) for each in known),
        ],
    )
    return Published(
        endpoint=endpoint.name,
        block=stamp,
        totals=dict(zip(TOTALS_FIELDS, answers["totals"], strict=True)),
        markets={market: tuple(answers[f"market.{market}"]) for market in known},
        market_count=answers["count"],
    )
