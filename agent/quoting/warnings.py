"""The board of warnings as interfaces read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from itertools import count

from agent.positions.warn import Warned, sentence
from agent.positions.warn_turn import Warner
from contracts.units import MarketId
from relayer.http import schemas

OVER = "over"
"""The level of a warning that stands no longer."""


def standing(
    warner: Warner | None, account: str | None, limit: int, symbols: Mapping[MarketId, str]
) -> schemas.Warnings:
    """Give the warnings that stand, the most urgent first; none where nobody watches."""
    current = () if warner is None else warner.current()
    mine = [
        each for each in current if account is None or each.found.account.lower() == account.lower()
    ]
    rows = [warning_row(each, number, symbols) for number, each in enumerate(mine[:limit])]
    return schemas.Warnings(warnings=tuple(rows))


async def changes(
    warner: Warner | None, symbols: Mapping[MarketId, str]
) -> AsyncGenerator[schemas.WarningRow, None]:
    """Give each change of the board from now on, until the listener lags too far behind."""
    if warner is None:
        return
    queue, numbers = warner.stream.listen(), count()
    try:
        while (said := await queue.get()) is not None:
            if isinstance(said, Warned):
                yield warning_row(said, next(numbers), symbols)
            else:
                yield _over(said, next(numbers))
    finally:
        warner.stream.leave(queue)


def warning_row(warned: Warned, number: int, symbols: Mapping[MarketId, str]) -> schemas.WarningRow:
    """Write a warning."""
    found = warned.found
    margin, size, near = warned.margin_to_add, warned.size_to_reduce, found.next_price
    return schemas.WarningRow(
        sequence=number,
        at_ms=warned.since_ms,
        key=found.key,
        account=found.account,
        market=symbols.get(found.market, str(found.market)),
        mode="cross" if found.is_cross else "isolated",
        level=found.level.label,
        words=sentence(warned),
        chances=found.chances,
        method=found.method,
        next_price_e18=None if near is None else str(near),
        cure=schemas.Cure(
            add_margin_e6=None if margin is None else str(margin),
            reduce_size_e18=None if size is None else str(size),
        ),
    )


def _over(key: str, number: int) -> schemas.WarningRow:
    return schemas.WarningRow(
        sequence=number,
        at_ms=0,
        key=key,
        account="",
        market=None,
        mode=None,
        level=OVER,
        words="it stands no longer",
    )
