"""What liquidation waits for, from the contracts: a market's slot, pauses, gaps; graces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book
from contracts.book_readings import Readings
from contracts.book_words import Account, decode_pace
from contracts.margin_pace import Pace
from contracts.units import MarketId, UnixS
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import Question, ask
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment
from relayer.chain.views import view
from relayer.errors import Misconfigured

_PACE: Final = view("pace(uint256)", "uint256")
_GRACE: Final = view("graces(address)", "uint256")
_GAP: Final = view("resumed_at(uint256)", "uint256")
_RESUMES: Final = view("liquidation_resumes_at(uint256)", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A market's window and note, and from when its grace counts."""

    pace: Pace
    price_resumed_at_s: UnixS
    liquidation_resumes_at_s: UnixS


async def read_waits(
    endpoint: ChainEndpoint, deployment: Deployment, stamp: BlockStamp, markets: Iterable[MarketId]
) -> Mapping[MarketId, Waits]:
    """Read some markets' waits at a block, in one round trip."""
    if deployment.margin is None:
        raise Misconfigured("no margin contracts were deployed")
    asked = {
        (market, name): Question(f"{name}.{market}", function, contract, (market,))
        for market in markets
        for name, function, contract in (
            ("pace", _PACE, deployment.margin.liquidator),
            ("gap", _GAP, deployment.price_feed),
            ("resumes", _RESUMES, deployment.risk_oracle),
        )
    }
    answers = await ask(endpoint, stamp, list(asked.values()))
    return {
        market: Waits(
            pace=decode_pace(answers[f"pace.{market}"]),
            price_resumed_at_s=UnixS(answers[f"gap.{market}"]),
            liquidation_resumes_at_s=UnixS(answers[f"resumes.{market}"]),
        )
        for market, name in asked
        if name == "pace"
    }


async def read_graces(
    endpoint: ChainEndpoint, deployment: Deployment, stamp: BlockStamp, accounts: Iterable[Account]
) -> Mapping[Account, UnixS]:
    """Read when the graces began of accounts that lack only live prices; 0 never."""
    if deployment.margin is None:
        raise Misconfigured("no margin contracts were deployed")
    liquidator = deployment.margin.liquidator
    asked = {
        account: Question(f"grace.{account:x}", _GRACE, liquidator, (f"0x{account:040x}",))
        for account in accounts
    }
    answers = await ask(endpoint, stamp, list(asked.values()))
    return {account: UnixS(answers[question.name]) for account, question in asked.items()}


def with_waits(
    book: Book, readings: Readings, waits: Mapping[MarketId, Waits]
) -> tuple[Book, Readings]:
    """Put waits where the law looks for them."""
    markets = dict(readings.markets)
    for market, each in waits.items():
        markets[market] = replace(
            markets[market],
            price_resumed_at_s=each.price_resumed_at_s,
            liquidation_resumes_at_s=each.liquidation_resumes_at_s,
        )
    paces = {market: each.pace for market, each in waits.items()}
    return replace(book, paces={**book.paces, **paces}), replace(readings, markets=markets)
