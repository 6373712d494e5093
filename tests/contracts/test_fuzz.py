"""Random histories of everybody's calls on all eight contracts: every law after every call.

50,000 calls here, each also compared word by word with the book model; millions in `make test-long`
(`AML_FUZZ_CALLS`, `AML_FUZZ_SEED`).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from contracts.refusals import Refusal
from tests.contracts import chain
from tests.contracts.fuzz import Walk
from tests.contracts.fuzz_garbage import Garbage, functions
from tests.contracts.fuzz_laws import Watched
from tests.contracts.margin_world import KEEPER, LP, TRADERS

SEEDS = (1, 2, 3, 4, 5)
CALLS = 10_000 if chain.FAST else 200
PART = 20_000  # calls of one history in the long run
OPERATIONS = {
    "add_margin",
    "adjust",
    "begin_settlement",
    "cancel",
    "cancel_deposit",
    "cancel_redeem",
    "catch_up",
    "change_terms",
    "deleverage",
    "deleverage_side",
    "deposit",
    "execute",
    "execute_deposit",
    "execute_redeem",
    "liquidate",
    "liquidate_signed",
    "remove_margin",
    "request_close",
    "request_deposit",
    "request_open",
    "request_redeem",
    "set_rules",
    "settle",
    "sweep pool",
    "sweep vault",
    "withdraw",
}
LAWS = {
    "costs",
    "cuts",
    "fee from margin",
    "grace",
    "tokens",
    "own order",
    "limits",
    "splitting",
    "nobody endangered",
    "locked",
    "liquidation",
    "no cheaper close",
    "shares",
}
REFUSALS = (
    Refusal.ACTION_VOID,
    Refusal.AI_INPUT_PAUSED,
    Refusal.AMOUNT_OUT_OF_RANGE,
    Refusal.AMOUNT_ZERO,
    Refusal.AWAITING_SECOND_ROUND,
    Refusal.BALANCE_SHORT,
    Refusal.BELOW_MINIMUM_SIZE,
    Refusal.CLOSING_PAUSED,
    Refusal.COOLDOWN_RUNNING,
    Refusal.EVERYTHING_PAUSED,
    Refusal.GRACE_RUNNING,
    Refusal.LEVERAGE_ABOVE_CAP,
    Refusal.LEVERAGE_OUTSIDE_TERMS,
    Refusal.LIQUIDATION_PAUSED,
    Refusal.LOSS_EXCEEDS_MARGIN,
    Refusal.MAINTENANCE_TOO_LOW,
    Refusal.MARGIN_LOCKED,
    Refusal.MARGIN_NEEDS_ISOLATED,
    Refusal.MARGIN_SHORT,
    Refusal.MARKET_SETTLED,
    Refusal.NOTHING_TO_DELEVERAGE,
    Refusal.NOTHING_TO_REDUCE,
    Refusal.NOTHING_TO_SWEEP,
    Refusal.NOTIONAL_ABOVE_TERMS,
    Refusal.NOT_LAPSED,
    Refusal.NOT_LIQUIDATABLE,
    Refusal.NOT_MANAGED,
    Refusal.NOT_REQUESTED,
    Refusal.NOT_SETTLED,
    Refusal.NOT_THE_LARGEST,
    Refusal.NO_POSITION,
    Refusal.OPENING_PAUSED,
    Refusal.OPEN_INTEREST_FULL,
    Refusal.OUTSIDE_WINDOW,
    Refusal.PRICE_BEFORE_ACTION,
    Refusal.PRICE_BEFORE_POSITION,
    Refusal.PRICE_BEYOND_BOUND,
    Refusal.PRICE_NOT_ACCEPTABLE,
    Refusal.PRICE_NOT_READY,
    Refusal.PRICE_OUTSIDE_WINDOW,
    Refusal.PRICE_STILL_YOUNG,
    Refusal.PRICE_TOO_OLD,
    Refusal.RULES_INVALID,
    Refusal.SHARES_SHORT,
    Refusal.SKEW_FULL,
    Refusal.TERMS_INCOHERENT,
    Refusal.TERMS_OF_ANOTHER,
    Refusal.TERMS_USED,
    Refusal.TRIGGER_GONE,
    Refusal.UNKNOWN_REQUEST,
    Refusal.WITHDRAWALS_PAUSED,
    Refusal.WOULD_BE_LIQUIDATABLE,
    Refusal.WRONG_ACTION_KIND,
)
# Views of tables and of ERC-4626, which may revert on what no token could have; no money moves.
VIEWS_OF_RANGES = {
    "PriceFeed.rules",
    "PriceFeed.slots",
    "RiskOracle.bounds",
    "RiskOracle.guards",
    "RiskOracle.slots",
    "LiquidityPool.convertToAssets",
    "LiquidityPool.convertToShares",
    "LiquidityPool.previewDeposit",
    "LiquidityPool.previewMint",
    "LiquidityPool.previewRedeem",
    "LiquidityPool.previewWithdraw",
}


def walked(seed: int, calls: int) -> Watched:
    """Walk one history to its end."""
    walk = Watched(seed)
    while walk.calls < calls:
        try:
            walk.step()
        except Exception as error:
            error.add_note(f"seed {seed}, after {walk.calls} calls")
            raise
        if walk.random.random() < 0.01:
            walk.compare_all()
    walk.compare_all()
    return walk


def table(done: Counter[tuple[str, str]]) -> str:
    """Give outcomes by operation, as a report has them."""
    lines = []
    for operation in sorted({operation for operation, _ in done}):
        found = {outcome: n for (each, outcome), n in done.items() if each == operation}
        parts = [f"{outcome} {n}" for outcome, n in sorted(found.items())]
        lines.append(f"{operation}: {', '.join(parts)}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[tuple[Counter[tuple[str, str]], Counter[str]]]:
    """What the histories of this module did, and which laws they asked."""
    done: Counter[tuple[str, str]] = Counter()
    asked: Counter[str] = Counter()
    yield done, asked
    sys.stdout.write(table(done) + "\n")


@pytest.mark.parametrize("seed", SEEDS)
def test_history__ten_thousand_calls__no_law_is_broken(
    seed: int, outcomes: tuple[Counter[tuple[str, str]], Counter[str]]
) -> None:
    walk = walked(seed, CALLS)
    outcomes[0].update(walk.done)
    outcomes[1].update(walk.asked)


def test_histories__together__every_operation_succeeded_and_every_law_was_asked(
    outcomes: tuple[Counter[tuple[str, str]], Counter[str]],
) -> None:
    done, asked = outcomes
    if not chain.FAST or sum(done.values()) < CALLS * len(SEEDS):
        pytest.skip("needs all the histories above, in the fast EVM")
    succeeded = {operation for operation, outcome in done if outcome == "ok"}
    assert succeeded >= OPERATIONS, f"never succeeded: {OPERATIONS - succeeded}"
    met = {outcome for _, outcome in done}
    missed = {each.name for each in REFUSALS} - met
    assert not missed, f"never refused: {missed}"
    assert set(asked) >= LAWS, f"never asked: {LAWS - set(asked)}"


def test_any_function__arguments_at_the_edges_of_their_types__succeeds_or_has_a_number() -> None:
    walk = Walk(7)
    for _ in range(150):
        walk.step()
    world = walk.world
    places = {
        **world.contracts,
        "PriceFeed": world.feed.contract,
        "RiskOracle": world.oracle.contract,
    }
    live = [10**6, 10**18, 2_000 * 10**18, *walk.held(), *walk.requests]
    addresses = [*TRADERS, KEEPER, LP, *(each.address for each in places.values())]
    garbage = Garbage(7, addresses, live)
    calls = [(name, entry) for name, at in places.items() for entry in functions(at)]
    for _ in range(20 if chain.FAST else 1):
        for name, entry in calls:
            garbage.call(places[name], name, garbage.random.choice(addresses[:6]), entry)
    unknown = [each for each in garbage.reverted if each.split("[")[0] not in VIEWS_OF_RANGES]
    assert not unknown, unknown[0]
    assert len(garbage.done) > 30
    totals = world.totals()
    assert totals["credited"] <= totals["vault_tokens"]
    assert totals["pool"] + totals["insurance"] + totals["pending"] <= totals["pool_tokens"]


@pytest.mark.long
def test_histories__millions_of_calls__no_law_is_broken(capsys: pytest.CaptureFixture) -> None:
    wanted = int(os.environ.get("AML_FUZZ_CALLS", "2000000"))
    seed, made = int(os.environ.get("AML_FUZZ_SEED", "1000")), 0
    done: Counter[tuple[str, str]] = Counter()
    while made < wanted:
        walk = walked(seed, min(PART, wanted - made))
        made += walk.calls
        done.update(walk.done)
        with capsys.disabled():
            sys.stdout.write(f"seed {seed}: {walk.calls} calls, {made} of {wanted}\n")
        seed += 1
    with capsys.disabled():
        sys.stdout.write(table(done) + "\n")
