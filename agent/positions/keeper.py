"""What anybody may do for the margin contracts now, in which order, and what has to wait; pure.

Each step is first taken in the law's own book (`contracts/book*.py`): what it would refuse is not
sent, and its number says what is waited for. Liquidations come first, the worst first; then orders
by their age; then positions that cuts or a settlement have left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pydantic import Field

from agent.positions.cascade import Order, Plan, in_order, turn_of
from agent.settings import Section
from contracts.book import Book, Refused
from contracts.book_closing import catch_up as caught_up
from contracts.book_closing import settle as settled
from contracts.book_desk import WINDOW_MS, cancel, execute_request
from contracts.book_liquidator import deleverage_side, liquidate_by_formula
from contracts.book_margin import Health
from contracts.book_readings import Readings
from contracts.book_words import Account, PositionId, split_position_id
from contracts.margin import LONG, SHORT
from contracts.refusals import Refusal
from contracts.units import LawError
from relayer.chain.index import IndexedRequest
from relayer.delivery import calls

MS: Final = 1_000
VALID_MS: Final = 30_000
FIRST_WAIT_MS: Final = 5_000
DEFAULT_PLAN: Final = Plan()
UPKEEP_A_TURN: Final = 64  # looked at in one turn: a million left behind must not stop it
LONGEST_WAIT_MS: Final = 60_000  # below the two minutes in which a grace that is over serves


class KeeperSettings(Section):
    """What the daemon does for others; the gas payer pays, its account gets fee and reward."""

    enabled: bool = True
    orders: bool = True
    liquidations: bool = True
    upkeep: bool = True
    calls_a_turn: int = Field(default=16, ge=1, le=256)
    simulate: bool = True  # where several are liquidatable: what it would set off, first


class TaskKind(StrEnum):
    """What a call does; each is a metric label."""

    LIQUIDATE = "liquidate"
    EXECUTE = "execute"
    CATCH_UP = "catch_up"
    SETTLE = "settle"
    CANCEL = "cancel"
    DELEVERAGE_SIDE = "deleverage_side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call worth sending; `contract` names which of the margin contracts takes it."""

    kind: TaskKind
    key: str
    contract: str
    payload: bytes
    valid_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One that the law refuses now, and by which guard."""

    kind: TaskKind
    key: str
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What is to be sent, first things first, and what waits."""

    tasks: tuple[Task, ...]
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When what did not succeed may be tried again: later each time, so that no storm arises."""

    until_ms: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    def allows(self, key: str, now_ms: int) -> bool:
        """Tell whether a task may be sent."""
        return now_ms >= self.until_ms.get(key, (0, 0))[0]

    def after(self, key: str, now_ms: int, *, succeeded: bool) -> Patience:
        """Note how a task ended."""
        others = {k: v for k, v in self.until_ms.items() if k != key and v[0] + VALID_MS > now_ms}
        if succeeded:
            return Patience(until_ms=others)
        _, waited_ms = self.until_ms.get(key, (0, 0))
        wait_ms = min(LONGEST_WAIT_MS, 2 * waited_ms) or FIRST_WAIT_MS
        return Patience(until_ms={**others, key: (now_ms + wait_ms, wait_ms)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Whom the watch found liquidatable, what waits at the desk, and who was left behind."""

    weak: Mapping[PositionId, Health]
    requests: Sequence[IndexedRequest]
    behind: Sequence[PositionId]


def agenda(
    book: Book,
    readings: Readings,
    work: Work,
    keeper: Account,
    settings: KeeperSettings,
    plan: Plan = DEFAULT_PLAN,
) -> Agenda:
    """Try everything in the law's book, and put what it takes into order.

    `book` holds the accounts of all of it, the keeper's, and the liquidator's paces. Of those who
    may wait, as many are liquidated as `plan` says.
    """
    steps: list[Task | Waiting] = []
    if settings.liquidations:
        steps += _liquidations(book, readings, work.weak, keeper, plan)
    if settings.orders:
        steps += [
            _order(book, readings, each, keeper) for each in open_requests(work.requests, readings)
        ]
    if settings.upkeep:
        steps += _cuts(book, readings)
        steps += [_upkeep(book, readings, identity) for identity in work.behind[:UPKEEP_A_TURN]]
        lapsed = lapsed_requests(work.requests, readings)[:UPKEEP_A_TURN]
        steps += [_cancel(book, readings, each) for each in lapsed]
    return Agenda(
        tasks=tuple(each for each in steps if isinstance(each, Task)),
        waiting=tuple(each for each in steps if isinstance(each, Waiting)),
    )


def open_requests(
    requests: Iterable[IndexedRequest], readings: Readings
) -> tuple[IndexedRequest, ...]:
    """Give the orders whose window is not over, oldest first."""
    now_ms = readings.now_s * MS
    return tuple(r for r in requests if now_ms <= r.request.requested_at_ms + WINDOW_MS)


def lapsed_requests(
    requests: Iterable[IndexedRequest], readings: Readings
) -> tuple[IndexedRequest, ...]:
    """Give the orders whose window is over, oldest first: their margin waits to be let go."""
    now_ms = readings.now_s * MS
    return tuple(r for r in requests if now_ms > r.request.requested_at_ms + WINDOW_MS)


def worst_first(weak: Mapping[PositionId, Health]) -> list[tuple[PositionId, Health]]:
    """Put those who may be liquidated in order: beyond two thirds first, then the worst share.

    Of a cross account only the position of the largest maintenance, which the formula asks for.
    """
    return in_order(weak.items(), Order.WORST_FIRST)


def _liquidations(
    book: Book,
    readings: Readings,
    weak: Mapping[PositionId, Health],
    keeper: Account,
    plan: Plan,
) -> Iterator[Task | Waiting]:
    """Try each on what the ones before have left of windows, skew and pool."""
    for identity, found in turn_of(list(weak.items()), plan):
        key = f"liquidate {identity:x} {found.standing.position.version}"
        try:
            book, _ = liquidate_by_formula(book, readings, identity, keeper)
        except Refused as refused:
            yield Waiting(kind=TaskKind.LIQUIDATE, key=key, refusal=refused.refusal)
            continue
        payload = calls.liquidate(identity)
        yield _task(
            TaskKind.LIQUIDATE, key, ("liquidator", payload), readings.now_s * MS + VALID_MS
        )


def _order(
    book: Book, readings: Readings, waiting: IndexedRequest, keeper: Account
) -> Task | Waiting:
    key = f"execute {waiting.request_id.hex()}"
    try:
        execute_request(book, readings, waiting.request, keeper)
    except Refused as refused:
        return Waiting(kind=TaskKind.EXECUTE, key=key, refusal=refused.refusal)
    until_ms = waiting.request.requested_at_ms + WINDOW_MS
    payload = calls.execute_request(waiting.fields)
    return _task(TaskKind.EXECUTE, key, ("desk", payload), until_ms)


def _cancel(book: Book, readings: Readings, waiting: IndexedRequest) -> Task | Waiting:
    """Give a lapsed request's margin back; its fee goes to the insurance, nobody earns by it."""
    key = f"cancel {waiting.request_id.hex()}"
    try:
        cancel(book, readings, waiting.request)
    except Refused as refused:
        return Waiting(kind=TaskKind.CANCEL, key=key, refusal=refused.refusal)
    payload = calls.cancel_request(waiting.fields)
    return _task(TaskKind.CANCEL, key, ("desk", payload), readings.now_s * MS + VALID_MS)


def _cuts(book: Book, readings: Readings) -> Iterator[Task]:
    """Cut each side whose profit has outgrown its share of the pool, as the law would."""
    for market, found in book.markets.items():
        for side in (LONG, SHORT):
            if market not in readings.markets or not found.side(side).size:
                continue
            try:
                deleverage_side(book, readings, market, side)
            except LawError:  # refused: for most sides there is nothing to cut
                continue
            key = f"deleverage_side {market} {side} {found.side(side).number}"
            payload = calls.deleverage_side(market, long=side == LONG)
            until_ms = readings.now_s * MS + VALID_MS
            yield _task(TaskKind.DELEVERAGE_SIDE, key, ("liquidator", payload), until_ms)


def _upkeep(book: Book, readings: Readings, identity: PositionId) -> Task | Waiting:
    """Settle a position, or bring it up to the cuts of its side."""
    _, market, _ = split_position_id(identity)
    number = book.position(identity).cuts
    ended = book.market(market).settled
    kind = TaskKind.SETTLE if ended else TaskKind.CATCH_UP
    key = f"{kind.value} {identity:x} {number}"
    try:
        _ = settled(book, readings, identity) if ended else caught_up(book, identity)
    except Refused as refused:
        return Waiting(kind=kind, key=key, refusal=refused.refusal)
    payload = calls.settle(identity) if ended else calls.catch_up(identity)
    return _task(kind, key, ("engine", payload), readings.now_s * MS + VALID_MS)


def _task(kind: TaskKind, key: str, call: tuple[str, bytes], until_ms: int) -> Task:
    contract, payload = call
    return Task(kind=kind, key=key, contract=contract, payload=payload, valid_until_ms=until_ms)
