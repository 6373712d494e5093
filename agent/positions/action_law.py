"""A signed action as the law sees it: its message, and whether the law would carry it out.

Asked twice: before an action is proposed, and again before it is sent, for the world moves on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book, Refused
from contracts.book_liquidator import adjust, deleverage, liquidate_signed
from contracts.book_readings import Readings
from contracts.book_words import Account, PositionId, split_position_id
from contracts.margin import SizeE18
from contracts.messages import ActionKind, PositionAction
from contracts.refusals import Refusal
from contracts.units import LawError, Ppm, UnixMs

_WAITS: Final = frozenset(
    {
        *(Refusal.PRICE_BEFORE_ACTION, Refusal.PRICE_BEFORE_POSITION, Refusal.PRICE_TOO_OLD),
        *(Refusal.AWAITING_SECOND_ROUND, Refusal.GRACE_RUNNING, Refusal.WINDOW_USED_UP),
        Refusal.LIQUIDATION_PAUSED,
    }
)
"""What passes: the action stays until it expires. Any other refusal voids it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What is to be done to one version of a position, and why, in words."""

    kind: ActionKind
    identity: PositionId
    version: int
    maintenance_ppm: Ppm
    max_size: SizeE18
    price_bound_e18: int
    because: tuple[str, ...]

    @property
    def name(self) -> str:
        """The kind, as metrics and people read it."""
        return self.kind.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an action that was signed may be sent: now, not yet, or never again."""

    may_go: bool
    may_wait: bool
    detail: str


def written(
    what: Intended, as_of_ms: int, valid_s: int, hashes: tuple[bytes, bytes]
) -> PositionAction:
    """Write what is intended as a message; `hashes` are the model's and the evidence's."""
    model_hash, evidence_hash = hashes
    return PositionAction(
        observed_at_ms=UnixMs(as_of_ms),
        valid_until_ms=UnixMs(as_of_ms + 1_000 * valid_s),
        position_id=what.identity,
        position_version=what.version,
        kind=what.kind,
        maintenance_ppm=what.maintenance_ppm,
        max_size_e18=what.max_size,
        price_bound_e18=what.price_bound_e18,
        model_hash=model_hash,
        evidence_hash=evidence_hash,
    )


def verdict(
    book: Book, readings: Readings, action: PositionAction, caller: Account, now_ms: int
) -> Verdict:
    """Ask the law whether an action may be carried out at what is so now."""
    if now_ms > action.valid_until_ms:
        return Verdict(may_go=False, may_wait=False, detail="EXPIRED")
    try:
        _taken(book, readings, action, caller)
    except Refused as refused:
        waits = refused.refusal in _WAITS
        return Verdict(may_go=False, may_wait=waits, detail=refused.refusal.name)
    except LawError as fault:
        return Verdict(may_go=False, may_wait=False, detail=str(fault))
    return Verdict(may_go=True, may_wait=False, detail="")


def would_be_taken(
    book: Book, readings: Readings, what: Intended, caller: Account, times: tuple[int, int]
) -> bool:
    """Tell whether the law would take an action at the next price, were it like this one.

    `times`: now, in milliseconds, and for how many seconds the action would be valid.
    """
    now_ms, valid_s = times
    action = written(what, now_ms, valid_s, (bytes(32), bytes(32)))
    market = split_position_id(what.identity)[1]
    reading = readings.markets[market]
    later = replace(reading.mark, observed_at_ms=UnixMs(now_ms + 1))
    anew = replace(readings, markets={**readings.markets, market: replace(reading, mark=later)})
    try:
        _taken(book, anew, action, caller)
    except Refused as refused:
        return refused.refusal in _WAITS
    except LawError:
        return False
    return True


def _taken(book: Book, readings: Readings, action: PositionAction, caller: Account) -> None:
    """Carry an action out in the book."""
    if action.kind is ActionKind.ADJUST:
        adjust(book, readings, action)
    elif action.kind is ActionKind.DELEVERAGE:
        deleverage(book, readings, action, caller)
    else:
        liquidate_signed(book, readings, action, caller)
