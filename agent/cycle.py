"""The risk cycle: observe, score, decide, guard, plan, attest, deliver, confirm, journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.attest import risk_updates
from agent.bundle import Encoded, encode_observation
from agent.judge import Judgement, Rules, Scorer, judge
from agent.ports import Hands
from agent.posting import Posting, cycle_entry, post_all
from agent.record import encode_judgement, encode_rules
from agent.snapshot import Observation, snapshot_of, with_jumps
from relayer.evidence import pack
from relayer.journal import CycleEntry
from relayer.market.jumps import JumpWatch
from relayer.signing.values import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What judges: the model in service, the rules, and the code that they run in."""

    model_hash: bytes
    scorer: Scorer
    rules: Rules
    code: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleResult:
    """One cycle as the journal keeps it, and the values that it went through."""

    entry: CycleEntry
    observation: Observation
    judgement: Judgement
    postings: tuple[Posting, ...]


async def risk_cycle(hands: Hands, mind: Mind, seen: JumpWatch) -> CycleResult:
    """Run one cycle at one instant; the clock stands still until it is journalled.

    `seen` is what the price loop accepted last: a jump that waits there is not decided on here.
    """
    async with hands.clock.hold():
        observation = with_jumps(await hands.world.observe(), seen)
        snapshot = snapshot_of(observation)
        judgement = judge(snapshot, mind.scorer, mind.rules)
        postings: tuple[Posting, ...] = ()
        if judgement.words:
            encoded = encode_cycle(observation, judgement, mind)
            evidence_hash, bundle = pack(encoded.fields)
            kept = hands.evidence.keep(evidence_hash, bundle, encoded.chunks)
            hashes = (mind.model_hash, evidence_hash)
            updates = risk_updates(judgement, hands.rounds, snapshot, hashes)
            proposals = [Proposal(message=m, domain=snapshot.limits.domain) for m in updates]
            postings = await post_all(proposals, hands, snapshot.as_of_ms, kept)
        times_ms = (observation.as_of_ms, await hands.clock.now_ms())
        entry = cycle_entry("risk", times_ms, postings, judgement.holds)
        await hands.journal.record_cycle(entry)
        return CycleResult(
            entry=entry, observation=observation, judgement=judgement, postings=postings
        )


def encode_cycle(observation: Observation, judgement: Judgement, mind: Mind) -> Encoded:
    """Write everything that a stranger needs to make the same judgement again."""
    encoded = encode_observation(observation)
    fields: dict[str, Any] = {
        **encoded.fields,
        **encode_judgement(judgement),
        "kind": "risk",
        "rules": encode_rules(mind.rules),
        "model_hash": mind.model_hash.hex(),
        "code": dict(mind.code),
    }
    return Encoded(fields=fields, chunks=encoded.chunks)
