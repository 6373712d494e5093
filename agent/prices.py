"""The price loop's tick: quotes, marks, triggers, and a round for the markets that are due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from agent.attest import price_rounds
from agent.ports import Hands
from agent.posting import Posting, cycle_entry, post_all
from agent.proof.bundle import encode_feed, encode_quotes
from agent.settings import Section
from agent.snapshot import Feed, hold_of
from agent.triggers import Trigger, TriggerSettings, due
from contracts.units import MarketId
from relayer.evidence import pack
from relayer.journal import CycleEntry
from relayer.market.aggregate import AggregationRules, Mark, NoMark, aggregate_round
from relayer.market.jumps import JumpWatch, unconfirmed
from relayer.market.values import QuoteRound
from relayer.signing.values import Proposal


class PriceSettings(Section):
    """How often prices are looked at, and how long a round may be used."""

    tick_s: float = Field(default=1.0, gt=0)
    valid_for_s: int = Field(default=60, ge=5, le=120)
    triggers: TriggerSettings = TriggerSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class TickResult:
    """One tick: its marks, why which market went, and what became of the rounds."""

    entry: CycleEntry
    feed: Feed
    marks: Mapping[MarketId, Mark]
    triggers: Mapping[MarketId, Trigger]
    postings: tuple[Posting, ...]
    seen: JumpWatch  # what the next tick holds jumps against


async def price_tick(
    hands: Hands,
    rules: AggregationRules,
    settings: PriceSettings,
    seen: JumpWatch,
) -> TickResult:
    """Look at every market once; the clock stands still until a round has been read back."""
    async with hands.clock.hold():
        feed = await hands.world.feed()
        quotes = await hands.world.quotes()
        now_ms = await hands.clock.now_ms()
        ids = [MarketId(market) for market in range(len(feed.posted))]
        found, seen = seen.confirmed(aggregate_round(quotes, ids, now_ms, rules))
        marks = {market: mark for market, mark in found.items() if isinstance(mark, Mark)}
        holds = tuple(hold_of(mark) for mark in found.values() if isinstance(mark, NoMark))
        posted = dict(zip(ids, feed.posted, strict=True))
        triggers = due(marks, posted, settings.triggers, feed.waiting)
        postings: tuple[Posting, ...] = ()
        if triggers:
            going = [marks[market] for market in triggers]
            fields = {
                **encode_tick((now_ms, quotes), going, rules, triggers),
                "feed": encode_feed(feed),
                "unconfirmed": unconfirmed(found),
                "waiting": {str(m): since for m, since in sorted(feed.waiting.items())},
                "trigger_settings": settings.triggers.model_dump(mode="json"),
            }
            evidence_hash, bundle = pack(fields)
            kept = hands.evidence.keep(evidence_hash, bundle, {})
            rounds = price_rounds(going, hands.rounds, feed, settings.valid_for_s, evidence_hash)
            proposals = [Proposal(message=message, domain=feed.domain) for message in rounds]
            postings = await post_all(proposals, hands, now_ms, kept)
        times_ms = (now_ms, await hands.clock.now_ms())
        return TickResult(
            entry=cycle_entry("price", times_ms, postings, holds),
            feed=feed,
            marks=marks,
            triggers=triggers,
            postings=postings,
            seen=seen,
        )


def encode_tick(
    seen: tuple[int, QuoteRound],
    marks: list[Mark],
    rules: AggregationRules,
    triggers: Mapping[MarketId, Trigger],
) -> dict[str, Any]:
    """Write what a round's prices were made from, and what was made of it."""
    now_ms, quotes = seen
    return {
        **encode_quotes(quotes),
        "kind": "price",
        "as_of_ms": now_ms,
        "aggregation_rules": asdict(rules),
        "triggers": {str(market): trigger.value for market, trigger in triggers.items()},
        "marks": {str(mark.market): encode_mark(mark) for mark in marks},
    }


def encode_mark(mark: Mark) -> dict[str, Any]:
    """Write a mark; its price as text, since it is beyond 2^53."""
    return {
        "price_e18": str(mark.price_e18),
        "confidence_ppm": mark.confidence_ppm,
        "observed_at_ms": mark.observed_at_ms,
        "venues": list(mark.venues),
        "excluded": list(mark.excluded),
    }
