"""The demo's margin steps: isolated and cross positions, and what the contracts refuse.

The amounts of the isolated and the cross trader are those of the founding document on the two.
"""

from __future__ import annotations

from agent.demo.margin_stage import USDC, Margin, price_of_liquidation, refused_with, usdc
from agent.demo.stage import Stage, require
from contracts.messages import MarginMode, Side
from contracts.refusals import Refusal
from relayer.chain import margin_calls as calls
from relayer.signing.values import NoQuorum, SignedMessage

POOL, INSURANCE = 1, 2
PROVIDER, ISOLATED_TRADER, CROSS_TRADER, BOLD_TRADER = (f"trader-{n}" for n in (4, 1, 2, 3))
POOL_USDC, INSURANCE_USDC = 5_000_000, 250_000
ISOLATED, CROSS = MarginMode.ISOLATED, MarginMode.CROSS
LONG, SHORT = Side.LONG, Side.SHORT
FROM_BALANCE = False  # not from the wallet


async def pool_requested(stage: Stage) -> str:
    """Who provides liquidity asks to enter; a price and an hour later is when it counts."""
    margin = Margin(stage=stage)
    total = (POOL_USDC + INSURANCE_USDC) * USDC
    provider = await margin.mint(PROVIDER, total, margin.at.pool)
    for tranche, amount in ((POOL, POOL_USDC), (INSURANCE, INSURANCE_USDC)):
        await provider.tell(margin.at.pool, calls.REQUEST_DEPOSIT, tranche, amount * USDC)
    code = await refused_with(provider.tell(margin.at.pool, calls.EXECUTE_DEPOSIT, 1))
    require(code is Refusal.COOLDOWN_RUNNING, f"entering at once met {code}")
    return f"{usdc(total)} wait; entering at once: {code.name if code else ''}"


async def pool_entered(stage: Stage) -> str:
    """The cooldown is over: anybody executes the deposits, at prices seen after they were made."""
    margin = Margin(stage=stage)
    for request in (1, 2):
        await margin.wallet("keeper").tell(margin.at.pool, calls.EXECUTE_DEPOSIT, request)
    totals = await margin.totals()
    require(totals["pool"] == POOL_USDC * USDC, f"the pool holds {totals}")
    return f"pool {usdc(totals['pool'])}, insurance {usdc(totals['insurance'])}"


async def isolated_long(stage: Stage) -> str:
    """500 USDC behind a BTC long: only those matter."""
    margin = Margin(stage=stage)
    await margin.deposit(ISOLATED_TRADER, 10_000 * USDC)
    wish = margin.wish(ISOLATED_TRADER, "BTC", LONG, ISOLATED, 2_000 * USDC)
    held = await margin.open(ISOLATED_TRADER, wish, "BTC", 2_000 * USDC, (500 * USDC, 500))
    require(held["side"] == 1, "no position was opened")
    rest = (await margin.account(ISOLATED_TRADER))["balance"]
    require(rest > 9_499 * USDC, f"{usdc(rest)} are left")
    at = price_of_liquidation(held, held["collateral"])
    return f"collateral {usdc(held['collateral'])}, liquidation at {at}; {usdc(rest)} untouched"


async def cross_long(stage: Stage) -> str:
    """10,000 USDC behind a 1,000 USDC ETH long: the whole balance carries it."""
    margin = Margin(stage=stage)
    await margin.deposit(CROSS_TRADER, 10_000 * USDC)
    wish = margin.wish(CROSS_TRADER, "ETH", LONG, CROSS, 1_000 * USDC)
    held = await margin.open(CROSS_TRADER, wish, "ETH", 1_000 * USDC, (0, 200))
    require(held["side"] == 1, "no position was opened")
    account = await margin.account(CROSS_TRADER)
    at = price_of_liquidation(held, account["balance"])
    require(at == "none", f"the whole balance should carry it, liquidation at {at}")
    return f"equity {usdc(account['equity'])}, liquidation price: {at}, at any price above zero"


async def margin_added(stage: Stage) -> str:
    """Margin added to the isolated position moves its liquidation price away."""
    margin = Margin(stage=stage)
    before = await margin.position(ISOLATED_TRADER, "BTC", ISOLATED)
    wallet, market = margin.wallet(ISOLATED_TRADER), margin.market("BTC")
    await wallet.tell(margin.at.engine, calls.ADD_MARGIN, market, 250 * USDC, FROM_BALANCE)
    after = await margin.position(ISOLATED_TRADER, "BTC", ISOLATED)
    require(after["collateral"] == before["collateral"] + 250 * USDC, "the margin did not arrive")
    first = price_of_liquidation(before, before["collateral"])
    return f"liquidation from {first} to {price_of_liquidation(after, after['collateral'])}"


async def withdrawal_refused(stage: Stage) -> str:
    """Initial margin, or a tenth of the notional where that is more, stays in a cross account."""
    margin = Margin(stage=stage)
    account = await margin.account(CROSS_TRADER)
    wallet = margin.wallet(CROSS_TRADER)
    too_much = account["withdrawable"] + 1
    code = await refused_with(wallet.tell(margin.at.engine, calls.WITHDRAW, too_much))
    require(code is Refusal.MARGIN_LOCKED, f"withdrawing what is locked met {code}")
    return f"{usdc(account['initial'])} are locked; one unit too much: MARGIN_LOCKED"


async def bold_positions(stage: Stage) -> str:
    """Close to the cap before the storm: a BTC long, and SOL sold short in a cross account."""
    margin = Margin(stage=stage)
    await margin.deposit(BOLD_TRADER, 20_000 * USDC)
    wish = margin.wish(BOLD_TRADER, "BTC", LONG, ISOLATED, 40_000 * USDC)
    bold = await margin.open(BOLD_TRADER, wish, "BTC", 40_000 * USDC, (5_000 * USDC, 900))
    wish = margin.wish(CROSS_TRADER, "SOL", SHORT, CROSS, 20_000 * USDC)
    short = await margin.open(CROSS_TRADER, wish, "SOL", 20_000 * USDC, (0, 400))
    require(bold["side"] == 1 and short["side"] == -1, "a position is missing")
    return f"BTC liquidation at {price_of_liquidation(bold, bold['collateral'])}"


async def profit_reused(stage: Stage) -> str:
    """After the crash the short's profit carries a position that the balance alone could not."""
    margin = Margin(stage=stage)
    await stage.tick()
    account = await margin.account(CROSS_TRADER)
    free = account["opening_equity"] - account["initial"]
    own = account["balance"] - account["initial"]
    require(free > own, f"no profit to reuse: {account}")
    needed = (free + max(own, 0)) // 2
    wish = margin.wish(CROSS_TRADER, "ETH", LONG, CROSS, 3 * needed)
    held = await margin.open(CROSS_TRADER, wish, "ETH", needed * 9 // 10, (0, 100))
    after = await margin.account(CROSS_TRADER)
    require(after["initial"] > after["balance"], f"the balance alone carries it: {after}")
    return (
        f"initial margin {usdc(after['initial'])} on a balance of {usdc(after['balance'])}; "
        f"ETH now {held['size'] / 10**18:.3f}"
    )


async def expired_parameters(stage: Stage) -> str:
    """Signed terms outlive the parameters: nothing opens under parameters that nobody renewed."""
    margin = Margin(stage=stage)
    await stage.cycle()
    expires_ms = await stage.now_ms() + stage.settings.rules.valid_for_s * 1_000
    wish = margin.wish(ISOLATED_TRADER, "ETH", LONG, ISOLATED, 500 * USDC)
    await stage.pass_to(expires_ms - 60_000)
    await stage.tick()
    signed = await margin.terms(wish)
    require(isinstance(signed, SignedMessage), f"no terms: {signed}")
    assert not isinstance(signed, NoQuorum)
    await stage.pass_to(expires_ms + 2_000)
    size = 500 * USDC * 10**30 // await margin.price("ETH")
    await margin.request_open(ISOLATED_TRADER, signed, size, 600 * USDC, 100)
    code = await refused_with(margin.execute_waiting())
    require(code is Refusal.OPENING_PAUSED, f"opening under expired parameters met {code}")
    later = await margin.terms(wish)
    require(isinstance(later, NoQuorum), "the signers gave terms under expired parameters")
    return "OPENING_PAUSED by the contract; the signers give no terms any more"


"""A position's size before and after a liquidation."""
