"""Actions and updates before real signer processes and the real contracts: refused by both."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from agent.signing import peers_of
from contracts.messages import ActionKind, Adjustment, MarginMode, PositionAction, Side
from contracts.refusals import Refusal as Guard
from contracts.units import Ppm
from relayer.errors import BadAnswer
from relayer.signing.peers import connected
from relayer.signing.values import NoQuorum, SignedMessage
from tests.agent.signed_house import Court, court, risk_keys
from tests.relayer import builders as b

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.long,
    pytest.mark.asyncio(loop_scope="module"),
]
MANAGED, FIXED = Adjustment.MANAGED, Adjustment.FIXED
LONG, SHORT, CERTAIN = "trader-1", "trader-2", "trader-3"
BOTH = (LONG, SHORT)
NOTIONAL = 3_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Court]:
    async with court(tmp_path_factory.mktemp("court")) as made:
        await made.open(LONG, Side.LONG, MANAGED, NOTIONAL)
        await made.open(SHORT, Side.SHORT, MANAGED, NOTIONAL)
        await made.open(CERTAIN, Side.LONG, FIXED, NOTIONAL)
        yield made


async def short_at_ceiling(here: Court) -> PositionAction:
    """Give a deleverage that one of both calls for."""
    role = await here.until_short(BOTH, "ceiling_ppm")
    return await here.action(role, ActionKind.DELEVERAGE)


async def test_update__beyond_the_signers_budget__goes_only_when_it_is_approved_there(
    here: Court,
) -> None:
    """The daemon's own budget would let it pass."""
    update = await here.tightening(0.55)
    beyond = ("impact_beyond_budget", f"impact of market {here.margin.market('BTC')}")
    assert beyond in await here.refused(update)
    refusals = 'aml_signer_refusals_total{reason="impact_beyond_budget",signer="risk-1"}'
    assert here.counted(1, refusals) >= 1
    waiting = await aml(here, "approve", "--list", "--signer", "1")
    assert (waiting.returncode, "awaiting" in waiting.stdout) == (1, True), waiting.stderr
    done = await aml(here, "approve", "1", "--signer", "1", "--why", "traders were warned")
    assert done.returncode == 0, done.stderr
    update = await here.again(update)
    one = await here.asked(update)
    assert isinstance(one, NoQuorum), "one operator is not a quorum"
    done = await aml(here, "approve", "1", "--signer", "2", "--why", "traders were warned")
    assert done.returncode == 0, done.stderr
    assert isinstance(await here.asked(await here.again(update)), SignedMessage)


async def test_action__forged__is_refused_at_the_door_and_by_the_contract(here: Court) -> None:
    action = await short_at_ceiling(here)
    before = here.signatures()
    assert await asked_by_a_stranger(here, action) == 3
    assert here.signatures() == before
    strangers = await here.signed_by(action, (b.key(81), b.key(82)))
    honest = await here.signed(action)
    changed = replace(action, max_size_e18=action.max_size_e18 - 1)
    await here.later()
    assert await here.contract_says(strangers) is Guard.UNKNOWN_SIGNER
    assert await here.contract_says(replace(honest, message=changed)) is Guard.UNKNOWN_SIGNER


async def test_deleverage__in_time__is_signed_and_carried_out_once(here: Court) -> None:
    action = await short_at_ceiling(here)
    signed = await here.signed(action)
    assert await here.contract_says(signed) is Guard.PRICE_BEFORE_ACTION
    await here.later()
    assert await here.contract_says(signed) is None
    # replayed: the version that it names is used up
    assert await here.contract_says(signed) is Guard.ACTION_VOID
    assert ("not_its_version", "position_version") in await here.refused(action)


async def test_action__the_world_moved__is_refused_by_both(here: Court) -> None:
    """Signed in time; then its owner adds margin, and the trigger is gone."""
    role = await here.until_short(BOTH, "ceiling_ppm")
    signed = await here.signed(await here.action(role, ActionKind.DELEVERAGE))
    await here.add_margin(role, 100)
    await here.later()
    assert await here.contract_says(signed) is Guard.TRIGGER_GONE
    again = await here.action(role, ActionKind.DELEVERAGE)
    assert ("trigger_gone", "kind") in await here.refused(again)


async def test_action__outside_its_owners_consent__is_refused_by_both(here: Court) -> None:
    """Even with the registered signers' own keys: consent is the contract's to keep."""
    deleverage = await here.action(CERTAIN, ActionKind.DELEVERAGE)
    adjust = await here.action(CERTAIN, ActionKind.ADJUST, maintenance_ppm=Ppm(70_000))
    for action in (deleverage, adjust):
        assert ("contract_would_refuse", "kind") in await here.refused(action)
        forced = await here.signed_by(action, risk_keys(1, 2))
        await here.later()
        assert await here.contract_says(forced) is Guard.NOT_MANAGED
    held = await here.margin.position(SHORT, "BTC", MarginMode.ISOLATED)
    ratio = Ppm(held["ceiling_ppm"] + 1)
    beyond = await here.action(SHORT, ActionKind.ADJUST, maintenance_ppm=ratio)
    assert ("contract_would_refuse", "maintenance_ppm") in await here.refused(beyond)


async def test_action__of_a_healthy_position__is_no_liquidation(here: Court) -> None:
    action = await here.action(CERTAIN, ActionKind.LIQUIDATE)
    assert ("trigger_gone", "kind") in await here.refused(action)
    forced = await here.signed_by(action, risk_keys(1, 2))
    await here.later()
    assert await here.contract_says(forced) is Guard.NOT_LIQUIDATABLE


async def test_action__too_old__is_refused_by_both(here: Court) -> None:
    action = await here.action(SHORT, ActionKind.ADJUST, maintenance_ppm=Ppm(60_000))
    await here.later(130_000)
    assert ("expired", "valid_until_ms") in await here.refused(action)
    forced = await here.signed_by(action, risk_keys(1, 2))
    assert await here.contract_says(forced) is Guard.EXPIRED


async def test_adjust_and_liquidate__in_turn__are_signed_and_carried_out(here: Court) -> None:
    """Ramped to what its owner accepted, a position at the cap is liquidatable in the end."""
    for role in BOTH:
        held = await here.margin.position(role, "BTC", MarginMode.ISOLATED)
        target = min(held["ceiling_ppm"], 2 * await here.ratio_ppm())
        adjust = await here.action(role, ActionKind.ADJUST, maintenance_ppm=Ppm(target))
        assert await here.contract_says(await here.signed(adjust)) is None
    for _ in range(7):
        await here.later(600_000)
        await here.stage.cycle()
    for _ in range(8):  # after such gaps there is a grace of five minutes
        await here.later(45_000)
    action, signed, said = await tried_to_liquidate(here)
    assert said is None
    assert await here.contract_says(signed) is Guard.ACTION_VOID
    assert ("not_its_version", "position_version") in await here.refused(action)


async def tried_to_liquidate(here: Court) -> tuple[PositionAction, SignedMessage, Guard | None]:
    """Sign a liquidation, and bring it at a price of later; a price may save its owner once."""
    said: Guard | None = Guard.NOT_LIQUIDATABLE
    for _ in range(10):
        role = await here.until_short(BOTH, "ratio_ppm")
        action = await here.action(role, ActionKind.LIQUIDATE)
        signed = await here.signed(action)
        await here.later()
        said = await here.contract_says(signed)
        if said is not Guard.NOT_LIQUIDATABLE:
            break
    return action, signed, said


async def asked_by_a_stranger(here: Court, action: PositionAction) -> int:
    """Ask every process with a key that none of them knows; say how many shut the door."""
    network, settings = here.stage.daemon.network, here.stage.settings.signers
    assert settings is not None
    proposal = await here.proposal(action)
    shut = 0
    peers = peers_of(network, settings, "risk")
    async with connected(peers, b.key(90), hedge_after_s=20.0, timeout_s=20.0) as signers:
        for number, signer in enumerate(signers.values(), 1):
            name = f'aml_signer_refusals_total{{reason="unauthenticated",signer="signer-{number}"}}'
            before = here.counted(number, name)
            with pytest.raises(BadAnswer, match="status 401"):
                await signer.sign(proposal)
            shut += here.counted(number, name) > before
    return shut


async def aml(here: Court, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(here.house.aml, *arguments)
