"""Whether a decision reproduces: recompute it from its evidence and compare it, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.attest import in_batches
from agent.errors import EvidenceError
from agent.judge import Judgement, Scorer, judge
from agent.prices import encode_mark
from agent.proof.bundle import GetBlob, decode_feed, decode_observation, decode_quotes
from agent.proof.impact import decode_ground, encode_weighing
from agent.proof.record import decode_factors, decode_rules, encode_judgement
from agent.snapshot import Limits, snapshot_of
from agent.triggers import TriggerSettings, due
from agent.weighing import weigh
from contracts.messages import MAX_PRICE_WORDS, MAX_RISK_WORDS, PriceRound, RiskUpdate
from contracts.packing import PriceQuote, pack_price_words
from contracts.units import MS_PER_S, MarketId, UnixMs
from relayer.market.aggregate import AggregationRules, Mark, NoMark, aggregate_round


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where what was recorded is not what comes out now."""

    field: str
    recorded: str
    recomputed: str


def verify_risk(
    fields: Mapping[str, Any], message: RiskUpdate, scorer: Scorer, get_blob: GetBlob
) -> tuple[Difference, ...]:
    """Judge the recorded observation again; compare each stage and the words on chain."""
    require_kind(fields, "risk")
    try:
        rules = decode_rules(fields["rules"])
        factors = decode_factors(fields.get("factors", {}))
    except (KeyError, TypeError, ValueError) as fault:
        raise EvidenceError(f"the bundle holds no readable rules: {fault}") from fault
    observation = decode_observation(fields, get_blob)
    snapshot = snapshot_of(observation)
    judged = judge(snapshot, scorer, rules, factors)
    again = plain(_budgeted(fields, judged, (snapshot.limits, snapshot.as_of_ms)))
    stages = {"words", "validity_s", *(name for name in fields if is_stage(name)), *again}
    differences = [
        difference
        for name in sorted(stages)
        for difference in differing(name, fields.get(name), again.get(name))
    ]
    # An update of many markets is posted in batches: this message is one of them, whole.
    posted = [hex(word) for word in message.words]
    batches = [list(batch) for batch in in_batches(again["words"], MAX_RISK_WORDS)]
    if posted not in batches:
        differences += differing("chain.words", posted, again["words"])
    valid_for_s = (message.valid_until_ms - message.observed_at_ms) // MS_PER_S
    differences += differing("chain.valid_for_s", valid_for_s, again["validity_s"])
    differences += differing("chain.model_hash", message.model_hash.hex(), fields["model_hash"])
    differences += differing("chain.observed_at_ms", message.observed_at_ms, fields["as_of_ms"])
    return tuple(differences)


def _budgeted(
    fields: Mapping[str, Any], judgement: Judgement, ground: tuple[Limits, UnixMs]
) -> dict[str, Any]:
    """Hold the judgement against the impact budget again; older bundles were made without."""
    if "impact_rules" not in fields:
        return encode_judgement(judgement)
    seen, approvals, settings = decode_ground(fields)
    weighing = weigh(judgement, ground, seen, approvals, settings)
    return {**encode_judgement(weighing.judgement), **encode_weighing(weighing)}


def verify_price(fields: Mapping[str, Any], message: PriceRound) -> tuple[Difference, ...]:
    """Make the marks again from the recorded quotes; compare them and the words on chain."""
    require_kind(fields, "price")
    try:
        rules = AggregationRules(**fields["aggregation_rules"])
        recorded, quotes = fields["marks"], decode_quotes(fields)
        as_of_ms = int(fields["as_of_ms"])
        ids = [MarketId(market) for market in range(len(fields["feed"]))]
        waiting = set(fields.get("unconfirmed", ()))
    except (KeyError, TypeError, ValueError) as fault:
        raise EvidenceError(f"the bundle holds no readable quotes: {fault}") from fault
    made = aggregate_round(quotes, ids, as_of_ms, rules)
    found = {market: made[market] for market in ids if market not in waiting}
    going = {MarketId(int(market)) for market in fields["triggers"]}
    marks = [m for m in found.values() if isinstance(m, Mark) and m.market in going]
    again = {str(mark.market): encode_mark(mark) for mark in marks}
    triggered = due_again(fields, found)
    words = pack_price_words([quote_of(mark) for mark in marks], message.observed_at_ms)
    on_chain = [hex(word) for word in message.words]
    recomputed = [hex(word) for word in words]
    batches = [list(batch) for batch in in_batches(recomputed, MAX_PRICE_WORDS)]
    return (
        *differing("marks", recorded, plain(again)),
        *differing("triggers", fields.get("triggers"), triggered),
        *(differing("chain.words", on_chain, recomputed) if on_chain not in batches else ()),
    )


def due_again(fields: Mapping[str, Any], found: Mapping[MarketId, Mark | NoMark]) -> dict[str, str]:
    """Find again which markets were due, from the feed as it was."""
    posted = decode_feed(fields["feed"])
    settings = TriggerSettings.model_validate(fields["trigger_settings"], strict=False)
    marks = {market: mark for market, mark in found.items() if isinstance(mark, Mark)}
    known = {MarketId(market): each for market, each in enumerate(posted)}
    asked = fields.get("waiting") or {}
    waiting = {MarketId(int(market)): UnixMs(since) for market, since in asked.items()}
    again = due(marks, known, settings, waiting)
    return {str(market): trigger.value for market, trigger in again.items()}


def quote_of(mark: Mark) -> PriceQuote:
    """Turn a mark into what a round carries of it."""
    return PriceQuote(
        market=mark.market,
        price_e18=mark.price_e18,
        confidence_ppm=mark.confidence_ppm,
        observed_at_ms=mark.observed_at_ms,
    )


def require_kind(fields: Mapping[str, Any], kind: str) -> None:
    """Refuse a bundle that was made for another kind of message."""
    if fields.get("kind") != kind:
        raise EvidenceError(f"the bundle is of kind {fields.get('kind')!r}, the round of {kind!r}")


STAGES = ("features", "scores", "decision", "outcome", "impact")


def is_stage(name: str) -> bool:
    """Tell whether a field is something that was computed, not observed."""
    return name.split("/", maxsplit=1)[0] in STAGES


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Turn tuples into lists, as a bundle that was read back has them."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def differing(place: str, recorded: Any, again: Any) -> Iterator[Difference]:  # noqa: ANN401
    """Walk two JSON values side by side and yield each leaf that differs."""
    if isinstance(recorded, Mapping) and isinstance(again, Mapping):
        for name in sorted(recorded.keys() | again.keys()):
            yield from differing(f"{place}.{name}", recorded.get(name), again.get(name))
    elif _same_length(recorded, again):
        for index, (left, right) in enumerate(zip(recorded, again, strict=True)):
            yield from differing(f"{place}[{index}]", left, right)
    elif recorded != again:
        yield Difference(field=place, recorded=_short(recorded), recomputed=_short(again))


def _same_length(recorded: Any, again: Any) -> bool:  # noqa: ANN401 - any JSON value
    both = isinstance(recorded, Sequence) and isinstance(again, Sequence)
    text = isinstance(recorded, str) or isinstance(again, str)
    return both and not text and len(recorded) == len(again)


def _short(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Write a value in one line that fits a terminal."""
    text = "absent" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
