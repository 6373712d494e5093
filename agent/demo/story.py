"""The demo's story: one decision's way and what stops a wrong one, each step checked, none staged.

Everything is the daemon's own: the world is local and labelled, the clock is moved by hand so that
hours pass in seconds, and no guard is loosened for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from agent.demo import margin_story as margin
from agent.demo import storm_story as storm
from agent.demo.stage import MINUTE_MS, Stage, require
from agent.network import local_role
from agent.proof.verifying import Report, verify_posted
from contracts.messages import RiskUpdate, calldata
from contracts.refusals import Refusal
from relayer.chain.events import posted_round
from relayer.errors import Reverted
from relayer.evidence import EvidenceStore
from relayer.local import client


async def first_prices(stage: Stage) -> str:
    """Prices of every market: median of three venues, 2 of 3 signatures, read back."""
    result = await stage.tick()
    require(result.entry.result == "effective", f"the price round is {result.entry}")
    require(len(result.marks) == len(stage.world.markets), "a market has no mark")
    return f"round {result.entry.round}, {len(result.triggers)} markets from 3 venues"


async def first_parameters(stage: Stage) -> str:
    """Leverage caps and maintenance from the trained model, inside the contract's bounds."""
    result = await stage.cycle()
    require(result.entry.result == "effective", f"the update is {result.entry}")
    stage.show(await stage.standing())
    model = stage.daemon.mind.model_hash.hex()[:12]
    return f"round {result.entry.round}, {len(result.judgement.plans)} markets, model {model}"


async def calm(stage: Stage) -> str:
    """An hour of calm: parameters are renewed, loosened slowly, never in one jump."""
    results = await stage.minutes(60, step=6)
    require(all(r.entry.result == "effective" for r in results), "a cycle was not effective")
    moves = [plan.move.value for r in results for plan in r.judgement.plans]
    counts = {move: moves.count(move) for move in sorted(set(moves))}
    return f"{len(results)} updates effective: " + ", ".join(f"{n} {m}" for m, n in counts.items())


async def reproduces(stage: Stage) -> str:
    """A stranger recomputes the last decision from its evidence."""
    what = str((await stage.standing()).oracle_round)
    report = await verify(stage, what)
    require(report.reproduces, f"{report.broken} {report.differences}")
    return f"round {what} reproduces, field by field"


async def changed_evidence(stage: Stage) -> str:
    """The same evidence with one digit changed: the field is named."""
    posted = await last_update(stage)
    store = EvidenceStore(stage.daemon.network.evidence)
    path = store.bundle_path(posted.evidence_hash)
    original = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(one_digit_changed(original, b'"features/0":{'))
    try:
        report = await verify(stage, str(posted.round))
    finally:
        path.write_bytes(original)
    require("features/0" in report.broken, f"named {report.broken}")
    return (
        f"named: {', '.join(report.broken)}; recomputing differs at {report.differences[0].field}"
    )


async def forged(stage: Stage) -> str:
    """A cap raised after the signing, and the same update again: both refused by the contract."""
    found = await posted_round(
        stage.daemon.endpoint,
        stage.daemon.deployment,
        "risk",
        (await stage.standing()).oracle_round,
    )
    require(found is not None, "the last update was not found")
    assert found is not None
    message = found.message
    assert isinstance(message, RiskUpdate)
    raised = dataclasses.replace(
        message, round=message.round + 1, words=(message.words[0] + (100 << 16), *message.words[1:])
    )
    forged_code = await refusal_of(stage, raised, found.signatures)
    replayed_code = await refusal_of(stage, message, found.signatures)
    accepted = {Refusal.UNKNOWN_SIGNER, Refusal.SIGNERS_NOT_ASCENDING}
    accepted |= {Refusal.UNRECOVERABLE_SIGNATURE, Refusal.DUPLICATE_SIGNER}
    require(forged_code in accepted, f"the forged update met {forged_code}")
    require(replayed_code is Refusal.STALE_ROUND, f"the replayed update met {replayed_code}")
    assert forged_code is not None
    return f"forged: {forged_code.name}; replayed: STALE_ROUND"


async def venue_off(stage: Stage) -> str:
    """One venue is off by 30 %: it is left out, and the mark does not move with it."""
    client.switch_venue(stage.world, 1, "off", factor=1.3)
    await stage.pass_to(await stage.now_ms() + MINUTE_MS)
    result = await stage.tick()
    client.switch_venue(stage.world, 1, "ok")
    excluded = {name for mark in result.marks.values() for name in mark.excluded}
    require(excluded == {stage.world.venues[1].id}, f"left out: {excluded}")
    text = client.fetch_text(f"http://127.0.0.1:{stage.daemon.metrics_port}/metrics")
    counted = (
        f'aml_venue_exclusions_total{{venue="{stage.world.venues[1].id}"}} {len(result.marks)}.0'
    )
    require(counted in text, "the exclusions were not counted")
    return f"left out of all {len(result.marks)} marks: {excluded.pop()}"


async def venues_down(stage: Stage) -> str:
    """All venues go stale: hold, with the reason, and nothing is posted."""
    before = await stage.standing()
    for venue in range(3):
        client.switch_venue(stage.world, venue, "stale")
    await stage.pass_to(await stage.now_ms() + MINUTE_MS)
    tick, cycle = await stage.tick(), await stage.cycle()
    for venue in range(3):
        client.switch_venue(stage.world, venue, "ok")
    after = await stage.standing()
    require(not tick.postings and not cycle.postings, "something was posted")
    rounds = (before.feed_round, before.oracle_round)
    require(rounds == (after.feed_round, after.oracle_round), "a round moved")
    reasons = {hold.reason for hold in cycle.entry.holds}
    return f"held: {', '.join(sorted(reasons))}; nothing posted"


async def scraped(stage: Stage) -> str:
    """Prometheus sees it."""
    text = client.fetch_text(f"http://127.0.0.1:{stage.daemon.metrics_port}/metrics")
    counted = {
        line.split()[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith(("aml_cycles_total", "aml_price_rounds_total", "aml_holds_total"))
    }
    effective = counted['aml_cycles_total{result="effective"}']
    require(effective > 0, "no effective cycle was counted")
    rounds = counted['aml_price_rounds_total{state="effective"}']
    return f"{effective:.0f} effective cycles, {rounds:.0f} price rounds on /metrics"


STORY: tuple[tuple[str, Callable[[Stage], Awaitable[str]]], ...] = (
    ("first prices posted and read back", first_prices),
    ("first parameters effective", first_parameters),
    ("liquidity asked for", margin.pool_requested),
    ("a calm hour", calm),
    ("liquidity entered", margin.pool_entered),
    ("an isolated long", margin.isolated_long),
    ("a cross book", margin.cross_long),
    ("margin added", margin.margin_added),
    ("a withdrawal refused", margin.withdrawal_refused),
    ("positions close to the cap", margin.bold_positions),
    ("a decision verified from its evidence", reproduces),
    ("changed evidence found out", changed_evidence),
    ("forged and replayed updates refused", forged),
    ("a venue 30 % off is left out", venue_off),
    ("all venues stale: hold", venues_down),
    ("storm and crash: tightening", storm.storm),
    ("warnings before it, with cures", storm.warned),
    ("a managed position deleveraged", storm.deleveraged),
    ("a partial liquidation", storm.liquidated),
    ("the signed action verified", storm.action_verified),
    ("profit reused as margin", margin.profit_reused),
    ("parameters expired: no opening", margin.expired_parameters),
    ("metrics scraped", scraped),
)


async def last_update(stage: Stage) -> RiskUpdate:
    """Fetch the last update as the chain has it."""
    number = (await stage.standing()).oracle_round
    found = await posted_round(stage.daemon.endpoint, stage.daemon.deployment, "risk", number)
    require(found is not None, f"round {number} was not found")
    assert found is not None
    assert isinstance(found.message, RiskUpdate)
    return found.message


async def verify(stage: Stage, what: str) -> Report:
    """Have a round of the oracle verified."""
    network = stage.daemon.network
    return await verify_posted(
        network, stage.settings, what, price=False, evidence=network.evidence
    )


async def refusal_of(
    stage: Stage, message: RiskUpdate, signatures: tuple[bytes, ...]
) -> Refusal | None:
    """Ask the contract what it says to a call."""
    contract = stage.daemon.deployment.risk_oracle
    try:
        await stage.daemon.endpoint.estimate_gas(
            local_role("keeper").address, contract, calldata(message, signatures)
        )
    except Reverted as refused:
        return Refusal(refused.code) if refused.code is not None else None
    return None


def one_digit_changed(bundle: bytes, after: bytes) -> bytes:
    """Change the first digit behind a marker."""
    start = bundle.index(after) + len(after)
    at = next(i for i in range(start, len(bundle)) if bundle[i : i + 1].isdigit())
    digit = b"7" if bundle[at : at + 1] != b"7" else b"3"
    return bundle[:at] + digit + bundle[at + 1 :]
