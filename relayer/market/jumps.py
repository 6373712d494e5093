"""Hold a mark that jumps until every venue shows it, or a second look does. Pure.

The rule and its source: docs/market-data.md. What was accepted last is a value that the caller
keeps: `confirm_jumps(memory, marks)` gives the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contracts.units import PPM, MarketId
from relayer.market.aggregate import Mark, NoMark, NoMarkReason
from relayer.market.values import MarketDataError

Marks = Mapping[MarketId, Mark | NoMark]


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpRules:
    """What a jump is, and what confirms it."""

    jump_ppm: int = 30_000  # from the last accepted mark
    window_ms: int = 10_000  # an older mark says nothing of a jump
    second_look_ms: int = 1_000  # of the marks' own stamps, after which a repeat confirms
    unanimous_venues: int = 3  # that confirm at once, when none stands apart

    def __post_init__(self) -> None:
        """Refuse rules that would confirm every jump, or none."""
        if not 0 < self.jump_ppm < PPM or self.second_look_ms > self.window_ms:
            raise MarketDataError(
                "jump_ppm is a share below 1, and second_look_ms within window_ms"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkMemory:
    """The last accepted mark of each market, and the jump that waits for its second look."""

    accepted: Mapping[MarketId, Mark] = field(default_factory=dict)
    waiting: Mapping[MarketId, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpWatch:
    """The rules, and what one of who looks at marks remembers under them."""

    rules: JumpRules = JumpRules()
    memory: MarkMemory = MarkMemory()

    def confirmed(self, marks: Marks) -> tuple[Marks, JumpWatch]:
        """Replace unconfirmed jumps by the reason; give the watch of the next look."""
        shown, memory = confirm_jumps(self.memory, marks, self.rules)
        return shown, replace(self, memory=memory)


def confirm_jumps(memory: MarkMemory, marks: Marks, rules: JumpRules) -> tuple[Marks, MarkMemory]:
    """Replace unconfirmed jumps by the reason, and remember what was accepted."""
    accepted, waiting = dict(memory.accepted), dict(memory.waiting)
    shown: dict[MarketId, Mark | NoMark] = {}
    for market, mark in marks.items():
        if isinstance(mark, NoMark):
            shown[market] = mark
            continue
        last, first = accepted.get(market), waiting.pop(market, None)
        if last is None or is_confirmed(mark, last, first, rules):
            accepted[market] = shown[market] = mark
        else:
            near = first is not None and not _jumps(mark, first, rules)
            waiting[market] = first if first is not None and near else mark
            shown[market] = _held(mark, last)
    return shown, MarkMemory(accepted=accepted, waiting=waiting)


def unconfirmed(shown: Marks) -> list[MarketId]:
    """List the markets whose jump waits to be confirmed, for evidence."""
    held = (each for each in shown.values() if isinstance(each, NoMark))
    return sorted(each.market for each in held if each.reason is NoMarkReason.JUMP_UNCONFIRMED)


def is_confirmed(mark: Mark, last: Mark, first: Mark | None, rules: JumpRules) -> bool:
    """Tell whether a mark is no jump, or one that all venues or a second look confirm."""
    if not _jumps(mark, last, rules):
        return True
    if mark.observed_at_ms - last.observed_at_ms > rules.window_ms:
        return True
    if len(mark.venues) >= rules.unanimous_venues and not mark.excluded:
        return True
    if first is None or _jumps(mark, first, rules):
        return False
    return mark.observed_at_ms - first.observed_at_ms >= rules.second_look_ms


def _jumps(mark: Mark, other: Mark, rules: JumpRules) -> bool:
    """Tell whether two marks stand further apart than a jump."""
    return abs(mark.price_e18 - other.price_e18) * PPM > rules.jump_ppm * other.price_e18


def _held(mark: Mark, last: Mark) -> NoMark:
    """Say what waits to be confirmed."""
    percent = (mark.price_e18 - last.price_e18) * 100 / last.price_e18
    detail = f"{percent:+.1f} % in {(mark.observed_at_ms - last.observed_at_ms) / 1_000:.1f} s"
    return NoMark(
        market=mark.market, reason=NoMarkReason.JUMP_UNCONFIRMED, detail=f"{detail}, not by all"
    )
