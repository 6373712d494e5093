"""Gas of what traders, keepers and depositors do, over the whole path, cold and exact.

py-evm's figures of whole transactions: base cost and calldata in them, each beginning cold, with
three signatures on terms and actions. Markets are traded already and the pool is funded; the
trader opens its first positions. `open` and `close` are the request and its execution together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.book_words import CROSS, ISOLATED
from contracts.messages import ActionKind, Adjustment, MarginMode
from tests.contracts.chain import PyEvm, Receipt
from tests.contracts.margin_world import E18, KEEPER, TRADER, TRADERS, USDC, MarginWorld

SIGNATURES = 3
PRICE = 100 * E18
SIZE = 100 * E18  # 10,000 USDC
EACH = 2_300 * USDC  # behind each position: at 5x, and some for costs
NOW_BELOW = {"partial": 80_400, "full": 78_500}  # of the price, in 1e-5: where each begins
BELOW_CEILING = 81_400
AVERAGE_S = 300
GAP_S = 121
COUNTS = (1, 5, 10)
FROM_BALANCE = False
OPEN, CLOSE, LIQUIDATE, FURTHER = 350_000, 250_000, 250_000, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginRow:
    """One measured action; `positions` are the account's cross positions while it runs."""

    call: str
    mode: str
    positions: int
    gas: int
    target: int | None = None


def world_of(markets: int) -> MarginWorld:
    """Give a funded world whose markets have been traded by somebody else."""
    world = MarginWorld(
        evm=PyEvm(), threshold=SIGNATURES, prices=dict.fromkeys(range(markets), PRICE)
    )
    other = TRADERS[1]
    world.deposit(other, 10 * EACH)
    for market in range(markets):
        mode = MarginMode.CROSS
        asked = world.terms(other, market=market, margin_mode=mode)
        world.open(asked, SIZE // 4)
    return world


def opened(world: MarginWorld, market: int, mode: MarginMode, **terms: object) -> int:
    """Open a position, and give the gas of request and execution."""
    asked = world.terms(TRADER, market=market, margin_mode=mode, **terms)
    margin = EACH if mode is MarginMode.ISOLATED else 0
    requested = world.request_open(asked, SIZE, margin=margin)
    return requested.gas_used + world.fill(requested).gas_used


def closed(world: MarginWorld, market: int, mode: int, size: int) -> int:
    """Reduce or close, and give the gas of request and execution."""
    requested = world.request_close(TRADER, market, mode, size)
    return requested.gas_used + world.fill(requested).gas_used


def fallen(world: MarginWorld, share_e5: int) -> None:
    """Bring every market down and let its average follow."""
    prices = dict.fromkeys(world.prices, PRICE * share_e5 // 100_000)
    for wait_s in (GAP_S, AVERAGE_S):
        world.wait(wait_s)
        world.post(prices)


def isolated() -> Iterator[MarginRow]:
    """Measure the actions on one isolated position."""

    def row(call: str, gas: int, target: int | None = None) -> MarginRow:
        return MarginRow(call=call, mode="isolated", positions=0, gas=gas, target=target)

    world = world_of(1)
    yield row("deposit", world.deposit(TRADER, 4 * EACH).gas_used)
    yield row("open", opened(world, 0, MarginMode.ISOLATED), OPEN)
    yield row("increase", opened(world, 0, MarginMode.ISOLATED), OPEN)
    added = world.engine.send(TRADER, "add_margin", 0, 100 * USDC, FROM_BALANCE)
    yield row("add margin", added.gas_used)
    world.wait(3)
    world.post()
    taken = world.engine.send(TRADER, "remove_margin", 0, 50 * USDC)
    yield row("remove margin", taken.gas_used)
    yield row("reduce", closed(world, 0, ISOLATED, SIZE), CLOSE)
    yield row("close", closed(world, 0, ISOLATED, 2 * SIZE), CLOSE)
    world.wait(3)
    world.post()
    yield row("withdraw", world.engine.send(TRADER, "withdraw", 100 * USDC).gas_used)
    for how, share in NOW_BELOW.items():
        again = world_of(1)
        again.deposit(TRADER, 2 * EACH)
        opened(again, 0, MarginMode.ISOLATED)
        fallen(again, share)
        yield row(f"liquidate, {how}", liquidated(again, ISOLATED).gas_used, LIQUIDATE)


def liquidated(world: MarginWorld, mode: int) -> Receipt:
    """Liquidate the trader's position in market 0 by the formula."""
    before = world.held(TRADER, 0, mode).size
    receipt = world.liquidate(TRADER, 0, mode)
    if world.held(TRADER, 0, mode).size == before:
        raise AssertionError("nothing was liquidated")
    return receipt


def cross(count: int) -> Iterator[MarginRow]:
    """Measure the actions on an account with so many cross positions."""

    def row(call: str, gas: int, target: int | None = None) -> MarginRow:
        goal = None if target is None else target + FURTHER * (count - 1)
        return MarginRow(call=call, mode="cross", positions=count, gas=gas, target=goal)

    world = world_of(count)
    world.deposit(TRADER, count * EACH + 1_000 * USDC)
    gas = 0
    for market in range(count):
        gas = opened(world, market, MarginMode.CROSS)
    yield row("open", gas, OPEN)
    yield row("withdraw", world.engine.send(TRADER, "withdraw", 1 * USDC).gas_used)
    yield row("reduce", closed(world, count - 1, CROSS, SIZE // 2), CLOSE)
    yield row("close", closed(world, count - 1, CROSS, SIZE), CLOSE)
    for how, share in NOW_BELOW.items():
        again = prepared(count)
        fallen(again, share)
        yield row(f"liquidate, {how}", liquidated(again, CROSS).gas_used, LIQUIDATE)
    again = prepared(count, adjustment=Adjustment.MANAGED)
    fallen(again, BELOW_CEILING)
    action = again.action(again.held_id(TRADER, 0, CROSS), ActionKind.DELEVERAGE)
    again.wait(3)
    again.post()
    yield row("deleverage, signed", again.act("deleverage", action, KEEPER).gas_used, LIQUIDATE)


def prepared(count: int, **terms: object) -> MarginWorld:
    """Give a world in which the trader holds so many cross positions."""
    world = world_of(count)
    world.deposit(TRADER, count * EACH + 2 * USDC)
    for market in range(count):
        opened(world, market, MarginMode.CROSS, **terms)
    return world


def measure() -> list[MarginRow]:
    """Measure everything."""
    found = [row for count in COUNTS for row in cross(count)]
    return [*isolated(), *found, *each_further(found)]


def each_further(rows: list[MarginRow]) -> Iterator[MarginRow]:
    """Give what each further cross position adds, between the fewest and the most measured."""
    first = {row.call: row for row in rows if row.positions == COUNTS[0]}
    for row in (row for row in rows if row.positions == COUNTS[-1]):
        added = (row.gas - first[row.call].gas) / (COUNTS[-1] - COUNTS[0])
        goal = None if row.target is None else FURTHER
        name = f"{row.call}, each further position"
        yield MarginRow(call=name, mode="cross", positions=0, gas=round(added), target=goal)


def table(rows: list[MarginRow]) -> str:
    """Write the rows as a Markdown table, with the target where there is one."""
    lines = ["| call | mode | cross positions | gas | target |", "|---|---|---|---|---|"]
    for row in rows:
        target = "" if row.target is None else f"≤ {row.target:,}"
        lines.append(
            f"| {row.call} | {row.mode} | {row.positions or ''} | {row.gas:,} | {target} |"
        )
    return "\n".join(lines)
