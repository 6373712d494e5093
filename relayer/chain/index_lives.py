"""What each account's positions came to: opened when, at which leverage, closed or liquidated.

From the same events and in the same ledger as the index, so resumed, rolled back and read anew are
the same. A liquidation ends a trade; what it leaves goes on as another. Of each account the newest
`TRADES_KEPT` are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.book_words import (
    CROSS,
    Account,
    Position,
    PositionId,
    decode_flow,
    decode_position,
    split_position_id,
)
from contracts.units import LeverageE2, MarketId, Ppm, UnixS, UsdcE6
from relayer.chain.index_events import IndexEvent, PlacedLog
from relayer.chain.index_ledger import FLOW, Ledger, Table
from relayer.chain.index_rows import Row
from relayer.outcomes import DELEVERAGE, LIQUIDATION, Liquidated

TRADES_KEPT: Final = 32
COUNT_SLOT: Final = 255  # of an account's trades: how many there ever were
SLOT_BITS: Final = 8
OPEN, CLOSED, LIQUIDATED = 0, 1, 3
_E30: Final = 10**30


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrade:
    """One position from its opening to its end; `closed_s` of an open one is 0.

    `maintenance_ppm`: of its terms, so what leverage they allowed follows from it.
    """

    market: MarketId
    long: bool
    opened_s: UnixS
    closed_s: UnixS
    leverage_e2: LeverageE2
    maintenance_ppm: Ppm
    notional: UsdcE6
    end: int


def filled(ledger: Ledger, identity: int, _executor: int, _buys: int, *rest: int) -> None:
    """Take an executed order in: it closes, it opens, or it flips."""
    closed, opened, price = rest[:3]
    now = decode_position(ledger.get(Table.POSITION, identity))
    life = ledger.get(Table.LIFE, identity)
    fresh = opened > 0 and now.size == opened
    if life and (now.size == 0 or fresh):
        _end(ledger, identity, life, CLOSED)
        life = ()
    if opened:
        worth = opened * price // _E30
        began_s, notional = life[:2] if life else (_time(ledger, identity), 0)
        ledger.put(Table.LIFE, identity, _life(now, began_s, notional + worth))
    elif now.size == 0 and closed:
        ledger.put(Table.LIFE, identity, None)


def liquidated(ledger: Ledger, identity: int, _recipient: int, size: int, *rest: int) -> None:
    """Take a liquidated part in; it is a trade of its own that ended so.

    A deleveraging inside its owner's consent is the same event and no liquidation: it must not
    stand against the account.
    """
    life = ledger.get(Table.LIFE, identity)
    price, _, _, penalty, _, shortfall = rest[:6]
    if life:
        part = (life[0], size * price // _E30, *life[2:])
        _end(ledger, identity, part, LIQUIDATED if penalty or shortfall else CLOSED)
    if not decode_position(ledger.get(Table.POSITION, identity)).size:
        ledger.put(Table.LIFE, identity, None)


def liquidation_of(ledger: Ledger, placed: PlacedLog, event: IndexEvent) -> Liquidated | None:
    """Give a liquidation with its place and the life it ended; to be asked before it is taken in.

    None for any other event.
    """
    if event.name != "Liquidation":
        return None
    identity, _, size, price, _, _, penalty, _, shortfall = event.fields
    account, market, mode = split_position_id(PositionId(identity))
    life = ledger.get(Table.LIFE, identity)
    began_s, _, leverage, maintenance, long = life or (0, 0, 0, 0, 0)
    return Liquidated(
        block_number=placed.block_number,
        log_index=placed.log_index,
        block_hash=placed.block_hash,
        position=f"{identity:046x}",
        watched_as=f"{account:040x}" if mode == CROSS else f"{identity:046x}",
        at_s=_time(ledger, identity),
        facts={
            "account": f"0x{account:040x}",
            "market": market,
            "mode": mode,
            "side": 1 if long else -1,
            "size": str(size),
            "price": str(price),
            "notional": size * price // _E30,
            "leverage_e2": leverage,
            "maintenance_ppm": maintenance,
            "opened_s": began_s,
            "kind": LIQUIDATION if penalty or shortfall else DELEVERAGE,
        },
    )


def settled(ledger: Ledger, identity: int, *_: int) -> None:
    """Take in that a market's settlement ended a position."""
    life = ledger.get(Table.LIFE, identity)
    if life:
        _end(ledger, identity, life, CLOSED)
        ledger.put(Table.LIFE, identity, None)


def trades_of(ledger: Ledger, account: Account, positions: list[PositionId]) -> list[PastTrade]:
    """Give an account's trades in the order in which they ended, then those of open positions."""
    count = _count(ledger, account)
    slots = [n % TRADES_KEPT for n in range(max(0, count - TRADES_KEPT), count)]
    rows = [ledger.get(Table.TRADE, account << SLOT_BITS | slot) for slot in slots]
    for identity in positions:
        life = ledger.get(Table.LIFE, identity)
        if life:
            opened_s, notional, leverage, maintenance, long = life
            market = identity >> 8 & 0xFFFF
            rows.append((market, long, opened_s, 0, leverage, maintenance, notional, OPEN))
    return [_trade(row) for row in rows]


def _life(now: Position, began_s: int, notional: int) -> Row:
    return (began_s, notional, now.leverage_e2, now.maintenance_ppm, int(now.long))


def _end(ledger: Ledger, identity: int, life: Row, end: int) -> None:
    opened_s, notional, leverage, maintenance, long = life
    account, market, _ = split_position_id(PositionId(identity))
    times = (opened_s, _time(ledger, identity))
    _append(ledger, account, (market, long, *times, leverage, maintenance, notional, end))


def _time(ledger: Ledger, identity: int) -> int:
    """Give the time of the transaction: the market's funding was brought up to it just before."""
    market = identity >> 8 & 0xFFFF
    return decode_flow(ledger.get(Table.MARKET, market)[FLOW]).at_s


def _append(ledger: Ledger, account: int, row: Row) -> None:
    count = _count(ledger, account)
    ledger.put(Table.TRADE, account << SLOT_BITS | count % TRADES_KEPT, row)
    ledger.put(Table.TRADE, account << SLOT_BITS | COUNT_SLOT, (count + 1,))


def _count(ledger: Ledger, account: int) -> int:
    row = ledger.get(Table.TRADE, account << SLOT_BITS | COUNT_SLOT)
    return row[0] if row else 0


def _trade(row: Row) -> PastTrade:
    market, long, opened_s, closed_s, leverage, maintenance, notional, end = row
    return PastTrade(
        market=MarketId(market),
        long=bool(long),
        opened_s=UnixS(opened_s),
        closed_s=UnixS(closed_s),
        leverage_e2=LeverageE2(leverage),
        maintenance_ppm=Ppm(maintenance),
        notional=UsdcE6(notional),
        end=end,
    )
