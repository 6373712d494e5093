"""What liquidations would set off on the real book, and the pace that sets off least; pure.

Each step liquidates by the law's own book (`contracts/book_liquidator.py`, windows and second
rounds included), then the price moves by what was closed: 50 basis points for each stressed depth,
half of it back within half a minute. Who falls below maintenance by that is liquidated in a later
step. Plans differ in how many calls a step makes and in whose turn it is; the backstop never waits.

The work is counted in looks at a position, not in seconds, so the same book gives the same plan
anywhere. Past `MOST_LOOKS`, or with more positions near than `MOST_POSITIONS`, nothing is
simulated: the plan is the slowest one, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from agent.proof.books import decode_readings, encode_readings
from agent.proof.position_words import decode_book, encode_book
from contracts.book import Book, Refused
from contracts.book_liquidator import liquidate_by_formula
from contracts.book_margin import Health, health
from contracts.book_readings import Readings
from contracts.book_words import Account, PositionId, split_position_id
from contracts.margin import SizeE18, is_liquidatable, notional_up
from contracts.margin_losses import is_backstop
from contracts.units import PPM, USDC, LawError, MarketId, PriceE18, UnixMs, UnixS

STEP_S: Final = 5
STEPS: Final = 36  # three minutes
MOST_POSITIONS: Final = 96
MOST_LOOKS: Final = 8_000
"""A look takes 30 to 60 microseconds: at most half a second on one core."""
MOVE_PPM: Final = 5_000  # the stressed depth is what a market offers within 50 basis points
AVERAGE_S: Final = 300  # the price's own average is one of five minutes
BACK: Final = 0.5 ** (STEP_S / 30)
ALL_AT_ONCE: Final = 256
CASCADE: Final = "cascade"


class Order(StrEnum):
    """Whose turn it is, among those who may wait."""

    WORST_FIRST = "worst_first"
    SMALLEST_FIRST = "smallest_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """In which order, and how many calls a turn; the backstop goes first and is not counted."""

    order: Order = Order.WORST_FIRST
    calls_a_turn: int = ALL_AT_ONCE


SLOWEST: Final = Plan(calls_a_turn=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How one plan ends: who was liquidated, for how much, what nobody could pay, how far it fell.

    `lowest_ppm` is the farthest that each market's price was moved, by name of the market; `ended`:
    nobody was left to liquidate within the steps.
    """

    accounts: int
    notional_usdc: int
    bad_debt_usdc: int
    steps: int
    lowest_ppm: Mapping[str, int]
    ended: bool

    @property
    def cost(self) -> tuple[bool, int, int, int, int]:
        """What plans are compared by: losses nobody pays, then what is closed, then how long."""
        return (
            not self.ended,
            self.bad_debt_usdc,
            self.notional_usdc,
            self.accounts,
            self.steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """The plan that was chosen, its path beside the one without pacing; why, where none was."""

    plan: Plan
    paced: Path | None = None
    unpaced: Path | None = None
    why: str = ""

    def plain(self) -> dict[str, Any]:
        """Write it as evidence."""
        return {
            "order": self.plan.order.value,
            "calls_a_turn": self.plan.calls_a_turn,
            "paced": None if self.paced is None else asdict(self.paced),
            "unpaced": None if self.unpaced is None else asdict(self.unpaced),
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a turn foresaw, in a sentence, and the hash of its evidence; empty: nothing was."""

    cascade: Cascade | None = None
    said: str = ""
    evidence_hash: bytes = b""


NOTHING_FORESEEN: Final = Foreseen()


class _TooMuch(Exception):  # noqa: N818 - named for what happened
    """The simulation looked at more positions than it may."""


def choose(
    book: Book,
    readings: Readings,
    depths_usdc: Mapping[MarketId, float],
    keeper: Account,
    calls_a_turn: int,
) -> Cascade:
    """Choose the plan whose cascade is smallest on this book; the fastest of equal ones."""
    if len(book.positions) > MOST_POSITIONS:
        why = f"{len(book.positions)} positions are near, at most {MOST_POSITIONS} are simulated"
        return Cascade(plan=SLOWEST, why=why)
    if any(split_position_id(each)[1] not in depths_usdc for each in book.positions):
        return Cascade(plan=SLOWEST, why="a market has no forecast of its depth")
    whole = Plan(calls_a_turn=calls_a_turn)
    looks = [MOST_LOOKS]
    try:
        unpaced = simulate(book, readings, whole, (depths_usdc, keeper), looks)
        weak = {split_position_id(i)[0] for i, _ in _weak(book, readings, looks)}
        if unpaced.ended and unpaced.accounts <= len(weak):
            return Cascade(plan=whole, paced=unpaced, unpaced=unpaced, why="nobody else falls")
        found = [(unpaced, whole)]
        for order in Order:
            for pace in sorted({max(1, calls_a_turn // 4), 1}, reverse=True):
                plan = Plan(order=order, calls_a_turn=pace)
                path = simulate(book, readings, plan, (depths_usdc, keeper), looks)
                found.append((path, plan))
    except _TooMuch:
        return Cascade(plan=SLOWEST, why=f"more than {MOST_LOOKS} looks would be needed")
    paced, plan = min(found, key=lambda each: each[0].cost)
    return Cascade(plan=plan, paced=paced, unpaced=unpaced, why="the smallest of those simulated")


def encode_cascade(
    found: Cascade,
    book: Book,
    readings: Readings,
    depths_usdc: Mapping[MarketId, float],
    caller: tuple[Account, int],
) -> dict[str, Any]:
    """Write a choice with everything that leads to it again; `caller`: who, how often a turn."""
    keeper, calls_a_turn = caller
    return {
        "kind": CASCADE,
        "keeper": hex(keeper),
        "calls_a_turn": calls_a_turn,
        "book": encode_book(book),
        "readings": encode_readings(readings),
        "depths_usdc": {str(market): each for market, each in depths_usdc.items()},
        "cascade": found.plain(),
    }


def chosen_again(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Choose again from what was written."""
    depths = {MarketId(int(market)): each for market, each in fields["depths_usdc"].items()}
    book, readings = decode_book(fields["book"]), decode_readings(fields["readings"])
    keeper, calls_a_turn = Account(int(fields["keeper"], 16)), int(fields["calls_a_turn"])
    return choose(book, readings, depths, keeper, calls_a_turn).plain()


def simulate(
    book: Book,
    readings: Readings,
    plan: Plan,
    around: tuple[Mapping[MarketId, float], Account],
    looks: list[int],
) -> Path:
    """Play one plan to its end; `around`: the markets' stressed depths, and who calls."""
    depths_usdc, keeper = around
    start, moved = readings, dict.fromkeys(book.markets, 0.0)
    lowest, hit, closed, step = dict(moved), set[Account](), 0, 0
    unpaid: dict[Account, int] = {}
    for step in range(1, STEPS + 1):
        weak = _weak(book, readings, looks)
        if not weak:
            break
        book, closed_now = _liquidated(book, readings, turn_of(weak, plan), keeper)
        for identity, found, size in closed_now:
            account, market, _ = split_position_id(identity)
            worth = notional_up(size, found.standing.now.price) / USDC
            moved[market] -= found.standing.position.side * worth / max(depths_usdc[market], 1.0)
            closed += round(worth)
            if size:
                hit.add(account)
                _owe(unpaid, identity, found)
        lowest = {m: max(lowest[m], abs(each)) for m, each in moved.items()}
        readings = _at(start, readings, moved, step)
        moved = {market: each * BACK for market, each in moved.items()}
    left = _weak(book, readings, looks)
    for identity, found in left:
        _owe(unpaid, identity, found)
    return Path(
        accounts=len(hit),
        notional_usdc=closed,
        bad_debt_usdc=sum(unpaid.values()) // USDC,
        steps=step,
        lowest_ppm={str(m): round(each * MOVE_PPM) for m, each in lowest.items() if each},
        ended=not left,
    )


def _liquidated(
    book: Book, readings: Readings, turn: Iterable[tuple[PositionId, Health]], keeper: Account
) -> tuple[Book, list[tuple[PositionId, Health, SizeE18]]]:
    """Liquidate whose turn it is, each on what the ones before left; what was closed of whom."""
    closed = []
    for identity, found in turn:
        try:
            book, size = liquidate_by_formula(book, readings, identity, keeper)
        except (Refused, LawError):
            continue
        closed.append((identity, found, size))
    return book, closed


def in_order(
    weak: Iterable[tuple[PositionId, Health]], order: Order
) -> list[tuple[PositionId, Health]]:
    """Put those who may be liquidated in order: beyond two thirds first, then as planned."""
    first = [(i, e) for i, e in weak if split_position_id(i)[1] == e.largest_market]

    def place(item: tuple[PositionId, Health]) -> tuple[bool, int, int]:
        identity, found = item
        share = found.equity * PPM // max(1, found.maintenance)
        worth = found.standing.notional
        waits = not is_backstop(found.equity, found.maintenance)
        return (waits, worth if order is Order.SMALLEST_FIRST else share, identity)

    return sorted(first, key=place)


def turn_of(weak: list[tuple[PositionId, Health]], plan: Plan) -> list[tuple[PositionId, Health]]:
    """Give those whose turn it is: every one beyond two thirds, and as many others as planned."""
    ordered = in_order(weak, plan.order)
    urgent = sum(is_backstop(e.equity, e.maintenance) for _, e in ordered)
    return ordered[: urgent + plan.calls_a_turn]


def _weak(book: Book, readings: Readings, looks: list[int]) -> list[tuple[PositionId, Health]]:
    looks[0] -= len(book.positions)
    if looks[0] < 0:
        raise _TooMuch
    looked = ((identity, health(book, readings, identity)) for identity in book.positions)
    return [
        (identity, found)
        for identity, found in looked
        if found.standing.position.size and is_liquidatable(found.equity, found.maintenance)
    ]


def _owe(unpaid: dict[Account, int], identity: PositionId, found: Health) -> None:
    """Note what an account below nothing cannot pay, once for all its positions."""
    account = split_position_id(identity)[0]
    unpaid[account] = max(unpaid.get(account, 0), -found.equity)


def _at(start: Readings, last: Readings, moved: Mapping[MarketId, float], step: int) -> Readings:
    """Give the readings of a step: prices as moved, observed anew, averages a little nearer."""
    now_s = UnixS(start.now_s + step * STEP_S)
    markets = dict(last.markets)
    for market, away in moved.items():
        if market not in markets:
            continue
        price = start.markets[market].mark.price
        change = round(price * away * MOVE_PPM) // PPM
        mark = last.markets[market].mark
        average = mark.average + (mark.price - mark.average) * STEP_S // AVERAGE_S
        after = replace(
            mark,
            price=PriceE18(max(1, price + change)),
            average=PriceE18(average),
            observed_at_ms=UnixMs(max(now_s * 1_000, mark.observed_at_ms + 1)),
        )
        markets[market] = replace(markets[market], mark=after)
    return replace(last, now_s=now_s, markets=markets)
