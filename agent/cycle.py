"""The risk cycle: observe, score, decide, guard, plan, weigh, attest, deliver, confirm, journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.attest import risk_updates
from agent.budget import budgeted, hold_back, use_up
from agent.impact import DEFAULTS, ImpactSettings, Weighing
from agent.judge import InService, Judgement, Rules, Scorer, judge
from agent.ports import Hands
from agent.posting import Posting, cycle_entry, post_all
from agent.proof.bundle import Encoded, encode_observation
from agent.proof.chunks import Chunks
from agent.proof.record import encode_factors, encode_judgement, encode_rules
from agent.serving import Learned
from agent.snapshot import Observation, made_of, snapshot_of, with_jumps
from relayer.evidence import pack
from relayer.journal import CycleEntry
from relayer.market.jumps import JumpWatch
from relayer.signing.values import Proposal


class Service(Protocol):
    """Follows the registry, and learns from how forecasts end."""

    async def now(self) -> InService:
        """Return what decides now."""
        ...

    async def learn(self, observation: Observation, judgement: Judgement) -> Learned:
        """Judge what has ended by now, and record what is promised."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What judges: the model to begin with, the rules, and the code that they run in.

    With `serving` the model follows the registry and learns; without, it stays as it is. `chunks`
    remembers what history was hashed before; it decides nothing.
    """

    model_hash: bytes
    scorer: Scorer
    rules: Rules
    code: Mapping[str, str]
    serving: Service | None = None
    impact: ImpactSettings = DEFAULTS
    chunks: Chunks = field(default_factory=Chunks, compare=False)

    async def now(self) -> InService:
        """Return the model that decides this cycle, and its factors."""
        if self.serving is not None:
            return await self.serving.now()
        return InService(model_hash=self.model_hash, scorer=self.scorer)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleResult:
    """One cycle as the journal keeps it, and the values that it went through."""

    entry: CycleEntry
    observation: Observation
    judgement: Judgement
    postings: tuple[Posting, ...]
    model_hash: bytes = b""
    learned: Learned | None = None
    weighing: Weighing | None = None


async def risk_cycle(hands: Hands, mind: Mind, seen: JumpWatch) -> CycleResult:
    """Run one cycle at one instant; the clock stands still until it is journalled.

    `seen` is what the price loop accepted last: a jump that waits there is not decided on here.
    """
    async with hands.clock.hold():
        observed = await hands.world.observe()
        made = made_of(observed)
        observation = with_jumps(observed, made, seen)
        snapshot = snapshot_of(observation, made)
        served = await mind.now()
        planned = judge(snapshot, served.scorer, mind.rules, served.factors)
        done = await budgeted(planned, snapshot, hands, mind.impact)
        await hold_back(done, snapshot, hands, mind.impact)
        judgement = done.weighing.judgement
        postings: tuple[Posting, ...] = ()
        if judgement.words:
            encoded = encode_cycle(observation, judgement, mind, served)
            evidence_hash, bundle = pack({**encoded.fields, **done.fields})
            kept = hands.evidence.keep(evidence_hash, bundle, encoded.chunks)
            hashes = (served.model_hash, evidence_hash)
            updates = risk_updates(judgement, hands.rounds, snapshot, hashes)
            proposals = [Proposal(message=m, domain=snapshot.limits.domain) for m in updates]
            postings = await post_all(proposals, hands, snapshot.as_of_ms, kept)
        times_ms = (observation.as_of_ms, await hands.clock.now_ms())
        await use_up(done, postings, hands, times_ms[1])
        entry = cycle_entry("risk", times_ms, postings, judgement.holds)
        await hands.journal.record_cycle(entry)
        # after delivery: what outcomes teach is for the next cycle, and costs this one nothing
        serving = mind.serving
        learned = None if serving is None else await serving.learn(observation, judgement)
        return CycleResult(
            entry=entry,
            observation=observation,
            judgement=judgement,
            postings=postings,
            model_hash=served.model_hash,
            learned=learned,
            weighing=done.weighing,
        )


def encode_cycle(
    observation: Observation, judgement: Judgement, mind: Mind, served: InService
) -> Encoded:
    """Write everything that a stranger needs to make the same judgement again."""
    encoded = encode_observation(observation, mind.chunks)
    fields: dict[str, Any] = {
        **encoded.fields,
        **encode_judgement(judgement),
        "kind": "risk",
        "rules": encode_rules(mind.rules),
        "model_hash": served.model_hash.hex(),
        "factors": encode_factors(served.factors),
        "code": dict(mind.code),
    }
    return Encoded(fields=fields, chunks=encoded.chunks)
