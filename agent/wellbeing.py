"""Whether all is well, and since when not: from the contracts and from the journal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import URL

from agent.standing import PAUSED, MarketStanding, Standing
from contracts.units import UnixS
from relayer.journal import CycleEntry, Journal
from relayer.signing.values import RefusalReason
from relayer.storage import Database

LOOKS_BACK = 2_000  # journal rows: a day of cycles of a minute, and more
GOOD = frozenset({"effective", "idle"})
BEYOND = RefusalReason.IMPACT_BEYOND_BUDGET.value
LATE = 3  # so many cycles without one is no chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is not well, and since when, where that is known."""

    what: str
    since_s: UnixS | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wellbeing:
    """All troubles; none: all is well. `journal`: what the daemon says, or why it says nothing."""

    troubles: tuple[Trouble, ...]
    journal: str

    @property
    def well(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.troubles

    @property
    def since_s(self) -> UnixS | None:
        """Give since when something is wrong, as far as is known."""
        return min((t.since_s for t in self.troubles if t.since_s is not None), default=None)


def wellbeing(
    standing: Standing,
    turns: Sequence[CycleEntry] | None,
    every_s: int,
    unread: str = "no journal here",
) -> Wellbeing:
    """Put together what contracts and journal say.

    `turns`: risk cycles, newest first; None where there is no journal, or where it cannot be read
    (`unread`). Prices leave no rows: how old they are is seen on the chain.
    """
    troubles = [trouble for market in standing.markets for trouble in _market(market)]
    if turns is None:
        return Wellbeing(troubles=tuple(troubles), journal=unread)
    if not turns:
        return Wellbeing(troubles=tuple(troubles), journal="nothing done yet")
    troubles += _turns(turns, LATE * every_s, standing.now_s)
    ago_s = standing.now_s - turns[0].finished_at_ms // 1_000
    said = f"{turns[0].kind} turn {turns[0].result} {ago_s} s ago"
    return Wellbeing(troubles=tuple(troubles), journal=said)


def _market(market: MarketStanding) -> list[Trouble]:
    if market.opens:
        return []
    what = f"{market.symbol} takes no new risk: {market.why_not}"
    if market.until_s is not None:
        # An end is a pause's; a price is stale until another comes, whatever is paused beside it.
        paused = "" if market.why_not == PAUSED else "; paused as well,"
        what += f"{paused} until {moment(market.until_s)}"
    return [Trouble(what=what, since_s=market.not_since_s)]


def _turns(turns: Sequence[CycleEntry], late_s: int, now_s: UnixS) -> list[Trouble]:
    """Find a loop that has stopped, and one that goes on without effect."""
    last_s = UnixS(turns[0].finished_at_ms // 1_000)
    if now_s - last_s > late_s:
        return [Trouble(what=f"no {turns[0].kind} turn for {now_s - last_s} s", since_s=last_s)]
    if turns[0].result in GOOD:
        return []
    bad = []
    for turn in turns:
        if turn.result in GOOD:
            break
        bad.append(turn)
    reasons = sorted({hold.reason for hold in turns[0].holds}) or [turns[0].detail or "no reason"]
    what = (
        f"{len(bad)} {turns[0].kind} turns without effect: {turns[0].result}, {', '.join(reasons)}"
    )
    beyond = [hold.detail for hold in turns[0].holds if BEYOND in hold.detail]
    if beyond:
        what += f": {beyond[0]}; aml approve --list --signer N at each of these signers"
    return [Trouble(what=what, since_s=UnixS(bad[-1].started_at_ms // 1_000))]


async def recent_turns(url: URL) -> tuple[CycleEntry, ...] | None:
    """Read the newest turns; None where no journal is. Nothing is made or migrated."""
    if url.drivername.startswith("sqlite") and not _exists(url):
        return None
    async with AsyncExitStack() as stack:
        database = Database.open(url)
        stack.push_async_callback(database.close)
        rows = await Journal(database).recent_cycles(LOOKS_BACK)
    return tuple(row for row in rows if row.kind == "risk")


def _exists(url: URL) -> bool:
    return url.database is not None and Path(url.database).exists()


def moment(at_s: int) -> str:
    """Write a time of the clock."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
