"""What a turn over positions sees and does, as values, and how the journal writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.ports import Clock, Delivery, Evidence, Records
from agent.positions.action_turn import Acted, Decided
from agent.positions.cascade import Cascade
from agent.positions.keeper import Agenda, Task
from agent.positions.saying import Said
from contracts.book_margin import Health, MarketNow
from contracts.book_readings import Readings
from contracts.book_words import PositionId
from contracts.messages import Domain
from contracts.units import MarketId
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index_reader import Advance
from relayer.chain.rpc import BlockStamp
from relayer.chain.values import Deployment, MarginContracts
from relayer.delivery.states import Effective, Outcome, detail_of
from relayer.errors import Misconfigured
from relayer.journal import CycleEntry, HoldEntry

NOTHING_TO_DO = Agenda(tasks=(), waiting=())
NOTHING_SAID = Said()
NOTHING_DECIDED = Decided()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One call of the keeper and how it ended."""

    task: Task
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one turn saw: the law's readings, every market, whom it screened and whom it found.

    At `stamp`; messages about positions are signed in `domain`.
    """

    stamp: BlockStamp
    domain: Domain
    readings: Readings
    markets: Mapping[MarketId, MarketNow]
    screened: tuple[PositionId, ...]
    weak: Mapping[PositionId, Health]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How far the index came, what was seen (None: nobody holds anything), what was done.

    `sent` are signed actions of earlier turns, `decided` what this one made of what it saw.
    """

    advance: Advance
    look: Look | None = None
    agenda: Agenda = NOTHING_TO_DO
    done: tuple[Done, ...] = ()
    entry: CycleEntry | None = None
    said: Said = NOTHING_SAID
    sent: tuple[Acted, ...] = ()
    decided: Decided = NOTHING_DECIDED
    cascade: Cascade | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where positions are read; `witnesses` are further endpoints, asked when sums differ."""

    endpoint: ChainEndpoint
    deployment: Deployment
    witnesses: tuple[ChainEndpoint, ...] = ()

    @property
    def margin(self) -> MarginContracts:
        """The margin contracts, which are there."""
        if self.deployment.margin is None:
            raise Misconfigured("no margin contracts were deployed")
        return self.deployment.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPorts:
    """What a turn is done with; `payer` None: it looks, and does nothing."""

    clock: Clock
    delivery: Delivery
    journal: Records
    payer: str | None
    evidence: Evidence | None = None


def entry_of(done: Sequence[Done], times_ms: tuple[int, int], why: str = "") -> CycleEntry | None:
    """Write a turn in which something was sent for the journal; None for a quiet one."""
    if not done:
        return None
    well = [each for each in done if isinstance(each.outcome, Effective)]
    return CycleEntry(
        kind="keeper",
        started_at_ms=times_ms[0],
        finished_at_ms=times_ms[1],
        result="effective" if well else "failed",
        holds=tuple(
            HoldEntry(market=None, reason=each.task.kind.value, detail=_said(each))
            for each in done
            if not isinstance(each.outcome, Effective)
        ),
        detail="; ".join([*(_said(each) for each in well), *([why] if why else [])]),
    )


def _said(done: Done) -> str:
    return f"{done.task.key}: {detail_of(done.outcome)}"
