"""The demo's storm: tightening, warnings with cures, a signed deleverage, a partial liquidation.

The minutes are played once, by `storm`; the steps after it look at what the daemon did in them.
"""

from __future__ import annotations

from agent.demo.margin_stage import USDC, Margin
from agent.demo.margin_story import BOLD_TRADER, ISOLATED
from agent.demo.stage import MINUTE_MS, Part, Stage, require
from agent.positions.action_turn import Acted
from agent.positions.keeper import TaskKind
from agent.positions.look import Turn
from agent.proof.acting import explain_acted, verify_acted
from contracts.book_words import PositionId, account_number, position_id
from contracts.messages import ActionKind
from relayer.delivery.states import Effective
from relayer.local.candles import CRASH_MS

E18 = 10**18
MINUTES = 24
LATER_MS = 4_000  # a signed action, and the second round of a far price, wait for a newer price


async def storm(stage: Stage) -> str:
    """A storm and a crash: new risk is tightened at once, open positions by a ramp with notice."""
    before = await stage.standing()
    await stage.pass_to(CRASH_MS - 30 * MINUTE_MS)
    await stage.minutes(30, step=5)
    unconfirmed = 0
    for _ in range(MINUTES):
        await stage.pass_to(await stage.now_ms() + MINUTE_MS)
        tick = await stage.tick()
        unconfirmed += sum(posted.unconfirmed for posted in tick.feed.posted if posted)
        await _look_after(stage)
        await stage.cycle()
    after = await stage.standing()
    stage.show(after)
    fell = [
        f"{b.symbol} {b.cap_e2 / 100:.1f}x to {a.cap_e2 / 100:.1f}x"
        for b, a in zip(before.markets, after.markets, strict=True)
        if a.cap_e2 < b.cap_e2
    ]
    require(bool(fell), "no cap fell in the crash")
    seen = f"; {unconfirmed} times a jump waited for confirmation" if unconfirmed else ""
    return f"caps fell: {', '.join(fell)}{seen}"


async def _look_after(stage: Stage) -> None:
    """Take a turn over positions, and one more where something waits for a price of later."""
    waits = await _turn(stage)
    if waits:
        await stage.pass_to(await stage.now_ms() + LATER_MS)
        await stage.tick()
        await _turn(stage)


async def _turn(stage: Stage) -> bool:
    """Take one turn, note what it did and said; tell whether anything waits now."""
    margin, loop = Margin(stage=stage), stage.daemon.positions
    assert loop is not None, "the local network deploys margin"
    assert loop.positions.warner is not None, "warnings are on"
    assert loop.positions.actor is not None, "margin is deployed"
    before = (await margin.position(BOLD_TRADER, "BTC", ISOLATED))["size"]
    turn = await stage.keep()
    stage.storm.turns.append(turn)
    for each in loop.positions.warner.current():
        if each.margin_to_add or each.found.key not in stage.storm.warned:
            stage.storm.warned[each.found.key] = each
    after = (await margin.position(BOLD_TRADER, "BTC", ISOLATED))["size"]
    if after != before:
        stage.storm.parts.append(Part(before=before, after=after, turn=turn))
    noted = any(isinstance(d.outcome, Effective) and d.outcome.skipped for d in turn.done)
    return noted or bool(loop.positions.actor.pending)


async def warned(stage: Stage) -> str:
    """Traders were warned before, each with what would cure it, to the unit."""
    bold = f"{_bold(stage):046x}"
    require(
        bold in stage.storm.warned,
        f"the bold position was not warned of: {list(stage.storm.warned)}",
    )
    cured = [each for each in stage.storm.warned.values() if each.margin_to_add]
    require(bool(cured), "no warning named a cure")
    for each in sorted(cured, key=lambda w: -w.level)[:3]:
        assert each.margin_to_add is not None
        size = f" or close {each.size_to_reduce / E18:.6f}" if each.size_to_reduce else ""
        what = "cross account" if each.found.is_cross else "position"
        stage.say(
            f"    {each.level.label:>8}  {what} of {each.found.account}: add "
            f"{each.margin_to_add / USDC:,.6f} USDC{size}"
        )
    return (
        f"{len(stage.storm.warned)} positions and accounts warned of, {len(cured)} with their cure"
    )


async def deleveraged(stage: Stage) -> str:
    """Below the ceiling that its owner accepted, signers had a part closed without a penalty."""
    done = [each for each in stage.storm.acted if _is_deleverage(each)]
    results = [f"{each.what.name} {each.result}: {each.detail}" for each in stage.storm.acted]
    require(bool(done), f"nothing was deleveraged; {results or 'nothing was signed'}")
    first = done[0]
    part = next(each for each in stage.storm.parts if first in each.turn.sent)
    held = await Margin(stage=stage).position(BOLD_TRADER, "BTC", ISOLATED)
    require(bool(held["managed"]), "a fixed position was touched")
    closed = part.before - part.after
    require(0 < closed <= first.what.max_size, "more was closed than was signed")
    share = closed * 100 // part.before
    return f"{share} % closed at a price seen after the signing; {first.what.because[1]}"


async def liquidated(stage: Stage) -> str:
    """What fell below maintenance was liquidated by the formula, a part first."""
    parts = [each for each in stage.storm.parts if _liquidations(each.turn)]
    partial = [each for each in parts if 0 < each.after < each.before]
    require(bool(partial), f"no part was liquidated: {[(p.before, p.after) for p in parts]}")
    shares = ", ".join(f"{(p.before - p.after) * 100 // p.before} %" for p in parts)
    return f"a long of BTC was liquidated in parts: {shares} of what was left"


async def action_verified(stage: Stage) -> str:
    """A stranger decides again on the action's evidence, and reads why."""
    action = next(each for each in stage.storm.acted if _is_deleverage(each))
    assert action.tx_hash is not None, "it took effect"
    network, what = stage.daemon.network, "0x" + action.tx_hash.hex()
    report = await verify_acted(network, stage.settings, what, network.evidence)
    require(report is not None, "the action was not found on chain")
    assert report is not None
    require(report.reproduces, f"{report.broken} {report.differences}")
    told = await explain_acted(network, what, network.evidence)
    assert told is not None, "it was found a moment ago"
    stage.say(f"    {told.told.headline}")
    for sentence in told.told.because:
        stage.say(f"      - {sentence}")
    return f"transaction {what[:12]}… reproduces, field by field"


def _bold(stage: Stage) -> PositionId:
    margin = Margin(stage=stage)
    account = account_number(margin.wallet(BOLD_TRADER).address)
    return position_id(account, margin.market("BTC"), int(ISOLATED))


def _is_deleverage(acted: Acted) -> bool:
    return acted.what.kind is ActionKind.DELEVERAGE and acted.result == "effective"


def _liquidations(turn: Turn) -> bool:
    return any(
        each.task.kind is TaskKind.LIQUIDATE and isinstance(each.outcome, Effective)
        for each in turn.done
    )
