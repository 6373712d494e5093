"""The pool in Python and the pool on chain stay equal, and nobody profits from how they round."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import pool
from contracts.pool import (
    MAX_AMOUNT,
    MAX_SHARES,
    VIRTUAL_SHARES,
    Entered,
    Exposure,
    Left,
    PoolState,
    Refused,
    Settled,
    Tranche,
)
from contracts.refusals import Refusal
from contracts.units import UnitError, UsdcE6
from tests.contracts.chain import FAST, RefusedError
from tests.contracts.pool_world import (
    ATTACKER,
    DEPOSITOR,
    INSURER,
    KEEPER,
    POOL,
    TRADER,
    USDC,
    PoolWorld,
)

LPS = (DEPOSITOR, INSURER, ATTACKER)
EXAMPLES = 300 if FAST else 5
PURE_EXAMPLES = 400


def amounts(high: int) -> st.SearchStrategy[int]:
    """Give amounts of every size up to a limit, and those at the edges."""
    sizes = st.integers(0, high.bit_length()).flatmap(lambda bits: st.integers(0, 2**bits))
    return st.one_of(sizes, st.sampled_from([0, 1, USDC, high])).map(lambda n: min(n, high))


@st.composite
def exposures(draw: Any, high: int = 10**13) -> Exposure:
    profits = [draw(amounts(high)) * draw(st.sampled_from([-1, 1])) for _ in range(2)]
    return Exposure(
        debts=UsdcE6(draw(amounts(high))),
        profit_high=max(profits),
        profit_low=min(profits),
        reserve=UsdcE6(draw(amounts(high))),
    )


@st.composite
def states(draw: Any) -> PoolState:
    return PoolState(
        assets=UsdcE6(draw(amounts(10**16))),
        insurance=UsdcE6(draw(amounts(10**16))),
        pending=UsdcE6(10**16),
        shares=draw(amounts(10**24)),
        insurance_shares=draw(amounts(10**24)),
    )


TRANCHES = st.sampled_from(list(Tranche))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from(LPS), TRANCHES, amounts(10**14), exposures()),
        st.tuples(
            st.just("leave"),
            st.sampled_from(LPS),
            TRANCHES,
            st.sampled_from([1, 10**6, 500_000, 999_999, 0]),
            st.one_of(exposures(), st.just(Exposure())),
        ),
        st.tuples(
            st.just("settle"),
            st.integers(-(10**13), 10**13),
            amounts(10**12),
            amounts(10**13),
        ),
        st.tuples(st.just("donate"), st.sampled_from(["vault", "pool"]), amounts(10**13)),
        st.tuples(st.just("sweep"), st.sampled_from(["vault", "pool"])),
        st.tuples(st.just("pull"), amounts(10**14)),
    ),
    min_size=1,
    max_size=14,
)


class Run:
    """One history on chain with the mirror beside it."""

    def __init__(self) -> None:
        self.world = PoolWorld()
        self.model = PoolState()

    def step(self, name: str, *arguments: Any) -> None:
        getattr(self, name)(*arguments)
        assert self.world.state() == self.model
        assert self.world.accounted()
        shares = [self.world.held(party, tranche) for tranche in Tranche for party in LPS]
        assert sum(shares[:3]) == self.model.shares
        assert sum(shares[3:]) == self.model.insurance_shares

    def refused(self, result: Any, action: Any) -> bool:
        """Expect of the chain what the mirror says."""
        if not isinstance(result, Refused):
            return False
        with pytest.raises(RefusedError) as caught:
            action()
        assert caught.value.refusal is result.refusal
        return True

    def enter(self, party: str, tranche: Tranche, amount: int, exposure: Exposure) -> None:
        if amount == 0:
            return
        id_ = self.world.request(party, tranche, amount)
        self.model = pool.request_deposit(self.model, UsdcE6(amount))
        self.world.wait(self.world.pool.read("cooldown", int(tranche))[0])
        self.world.expose(exposure)
        result = pool.enter(self.model, tranche, UsdcE6(amount), exposure)
        if self.refused(result, lambda: self.world.execute(id_)):
            self.world.wait(604_800)
            self.world.pool.send(party, "cancel_deposit", id_)
            self.model = pool.cancel_deposit(self.model, UsdcE6(amount))
            return
        assert isinstance(result, Entered)
        assert self.world.execute(id_) == result.shares
        self.model = result.state

    def leave(self, party: str, tranche: Tranche, ppm: int, exposure: Exposure) -> None:
        shares = self.world.held(party, tranche) * ppm // 10**6
        if shares == 0:
            return
        id_ = self.world.request_redeem(party, tranche, shares)
        self.world.wait(self.world.pool.read("cooldown", int(tranche))[1])
        self.world.expose(exposure)
        result = pool.leave(self.model, tranche, shares, exposure)
        if self.refused(result, lambda: self.world.execute(id_, "redeem")):
            self.world.wait(604_800)
            self.world.pool.send(party, "cancel_redeem", id_)
            return
        assert isinstance(result, Left)
        before = self.world.balance(party)
        assert self.world.execute(id_, "redeem") == result.paid
        assert self.world.balance(party) == before + result.paid
        self.model = result.state

    def settle(self, to_pool: int, to_insurance: int, shortfall: int) -> None:
        asked = max(0, to_pool + to_insurance)
        credited = self.world.vault.read("credited")
        if asked > credited:
            self.world.engine.send(KEEPER, "pull", TRADER, asked - credited)
        credited = self.world.vault.read("credited")
        result = pool.settle(self.model, to_pool, UsdcE6(to_insurance), UsdcE6(shortfall))
        values = (to_pool, to_insurance, shortfall)
        if self.refused(result, lambda: self.world.settle(*values)):
            return
        assert isinstance(result, Settled)
        self.world.settle(*values)
        self.model = result.state
        assert self.world.vault.read("credited") == credited + result.to_vault

    def donate(self, where: str, amount: int) -> None:
        self.world.mint(getattr(self.world, where).address, amount)

    def sweep(self, where: str) -> None:
        contract = getattr(self.world, where)
        excess = contract.read("excess")
        refusal = Refused(refusal=Refusal.NOTHING_TO_SWEEP)
        action = lambda: contract.send(ATTACKER, "sweep")  # noqa: E731
        if self.refused(refusal if excess == 0 else None, action):
            return
        action()
        self.model = pool.insure(self.model, UsdcE6(excess))

    def pull(self, amount: int) -> None:
        self.world.engine.send(KEEPER, "pull", TRADER, amount)


@settings(max_examples=EXAMPLES)
@given(steps=STEPS, founded=st.booleans())
def test_pool__any_history__is_the_mirror_s_and_accounted_for(steps, founded):
    run = Run()
    if founded:
        for party, tranche in ((DEPOSITOR, POOL), (INSURER, Tranche.INSURANCE)):
            run.step("enter", party, tranche, 10**12, Exposure())
    for step in steps:
        run.step(*step)


@settings(max_examples=PURE_EXAMPLES)
@given(
    state=states(), tranche=TRANCHES, amount=amounts(10**16), first=exposures(), later=exposures()
)
def test_round_trip__while_nothing_was_won__never_pays_more(state, tranche, amount, first, later):
    entered = pool.enter(state, tranche, UsdcE6(amount), first)
    if not isinstance(entered, Entered):
        return
    same = Exposure(debts=first.debts, profit_high=first.profit_high, profit_low=first.profit_low)
    worse = max(later.profit_high, first.profit_high)
    for exposure in (same, Exposure(profit_high=worse, profit_low=first.profit_low)):
        left = pool.leave(entered.state, tranche, entered.shares, exposure)
        assert isinstance(left, Refused) or left.paid <= amount


@settings(max_examples=PURE_EXAMPLES)
@given(
    state=states(),
    tranche=TRANCHES,
    parts=st.tuples(amounts(10**15), amounts(10**15)),
    exposure=exposures(),
)
def test_entering__in_two_parts__never_makes_more(state, tranche, parts, exposure):
    whole = pool.enter(state, tranche, UsdcE6(sum(parts)), exposure)
    first = pool.enter(state, tranche, UsdcE6(parts[0]), exposure)
    if not (isinstance(whole, Entered) and isinstance(first, Entered)):
        return
    second = pool.enter(first.state, tranche, UsdcE6(parts[1]), exposure)
    if isinstance(second, Entered):
        assert first.shares + second.shares <= whole.shares


@settings(max_examples=PURE_EXAMPLES)
@given(
    state=states(),
    tranche=TRANCHES,
    parts=st.tuples(amounts(10**24), amounts(10**24)),
    exposure=exposures(),
)
def test_leaving__in_two_parts__never_pays_more(state, tranche, parts, exposure):
    supply = state.supply(tranche)
    parts = (min(parts[0], supply), min(parts[1], supply - min(parts[0], supply)))
    whole = pool.leave(state, tranche, sum(parts), exposure)
    first = pool.leave(state, tranche, parts[0], exposure)
    if not (isinstance(whole, Left) and isinstance(first, Left)):
        return
    second = pool.leave(first.state, tranche, parts[1], exposure)
    if isinstance(second, Left):
        assert first.paid + second.paid <= whole.paid


def per_share(state: PoolState, tranche: Tranche, exposure: Exposure) -> tuple[int, int]:
    """Give a share's low price for those who stay, as a fraction; below 0 where all is owed."""
    worth = state.own(tranche) - (exposure.profit_high if tranche is POOL else 0)
    return worth + 1, state.supply(tranche) + VIRTUAL_SHARES


@settings(max_examples=PURE_EXAMPLES)
@given(state=states(), tranche=TRANCHES, amount=amounts(10**24), exposure=exposures())
def test_those_who_stay__whoever_enters_or_leaves__never_lose(state, tranche, amount, exposure):
    worth, supply = per_share(state, tranche, exposure)
    results = (
        pool.enter(state, tranche, UsdcE6(min(amount, 10**16)), exposure),
        pool.leave(state, tranche, min(amount, state.supply(tranche)), exposure),
    )
    for result in results:
        if isinstance(result, Refused):
            continue
        worth_after, supply_after = per_share(result.state, tranche, exposure)
        assert worth_after * supply >= worth * supply_after


@settings(max_examples=PURE_EXAMPLES)
@given(state=states(), tranche=TRANCHES, exposure=exposures())
def test_all_shares_together__are_never_worth_more_than_the_tranche(state, tranche, exposure):
    supply = state.supply(tranche)
    worth = pool.leaving_value(state, tranche, exposure)
    assert pool.assets_for(supply, supply, worth) <= worth


@settings(max_examples=PURE_EXAMPLES)
@given(
    state=states(),
    to_pool=st.integers(-(10**17), 10**17),
    to_insurance=amounts(10**15),
    shortfall=amounts(10**17),
)
def test_settling__any_loss__falls_on_insurance_first(state, to_pool, to_insurance, shortfall):
    result = pool.settle(state, to_pool, UsdcE6(to_insurance), UsdcE6(shortfall))
    everything = state.assets + state.insurance + to_pool + to_insurance
    if isinstance(result, Refused):
        assert everything < 0
        return
    after = result.state
    assert after.assets + after.insurance == everything
    assert result.covered == shortfall or after.insurance == 0
    assert result.drawn == 0 or after.assets == 0
    assert result.to_vault == -to_pool - to_insurance


def test_mirror__numbers_no_slot_holds__are_refused():
    with pytest.raises(UnitError, match="assets"):
        PoolState(assets=UsdcE6(MAX_AMOUNT + 1))
    with pytest.raises(UnitError, match="insurance_shares"):
        PoolState(insurance_shares=MAX_SHARES + 1)
    with pytest.raises(UnitError, match="above profit_high"):
        Exposure(profit_high=-1, profit_low=0)
    with pytest.raises(UnitError, match="debts"):
        Exposure(debts=UsdcE6(-1))


def test_mirror__beyond_what_storage_counts__refuses_as_the_contract():
    full = PoolState(assets=UsdcE6(MAX_AMOUNT), pending=UsdcE6(1))
    entered = pool.enter(full, POOL, UsdcE6(1), Exposure())
    assert entered == Refused(refusal=Refusal.SHARES_ZERO)
    crowded = PoolState(pending=UsdcE6(1), shares=MAX_SHARES - 1)
    entered = pool.enter(crowded, POOL, UsdcE6(1), Exposure())
    assert entered == Refused(refusal=Refusal.SHARES_EXHAUSTED)
    settled = pool.settle(full, 1, UsdcE6(0), UsdcE6(0))
    assert settled == Refused(refusal=Refusal.AMOUNT_TOO_LARGE)
