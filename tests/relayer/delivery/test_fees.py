"""Facts about fees: a replacement is one that nodes take, and bidding ends at the cap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayer.delivery.fees import FeeRules, Fees, first_offer, gas_limit, replacement

RULES = FeeRules(max_fee_cap_wei=10**10)
wei = st.integers(0, 10**10)


@given(base=wei, tip=st.integers(0, 10**9))
def test_first_offer__any_base_fee__covers_it_and_stays_under_the_cap(base: int, tip: int) -> None:
    rules = FeeRules(max_fee_cap_wei=10**10, priority_fee_wei=tip)
    offer = first_offer(base, rules)
    if offer is None:
        assert base + tip > rules.max_fee_cap_wei
    else:
        assert base <= offer.max_fee_wei <= rules.max_fee_cap_wei
        assert offer.priority_fee_wei <= offer.max_fee_wei
        assert offer.max_fee_wei > 0


@given(fee=wei, tip=st.integers(0, 10**9), base=wei)
def test_replacement__any_previous__raises_both_by_what_nodes_ask(
    fee: int, tip: int, base: int
) -> None:
    previous = Fees(max_fee_wei=fee, priority_fee_wei=min(fee, tip))
    raised = replacement(previous, base, RULES)
    if raised is not None:
        # geth: each strictly higher and at least 110 % of the old one.
        assert raised.max_fee_wei * 10 >= previous.max_fee_wei * 11
        assert raised.priority_fee_wei * 10 >= previous.priority_fee_wei * 11
        assert raised.max_fee_wei > previous.max_fee_wei
        assert raised.priority_fee_wei > previous.priority_fee_wei
        assert raised.priority_fee_wei <= raised.max_fee_wei <= RULES.max_fee_cap_wei


def test_replacement__again_and_again__ends_at_the_cap() -> None:
    offers = [first_offer(10**6, RULES)]
    while offers[-1] is not None:
        offers.append(replacement(offers[-1], 10**6, RULES))
    assert 70 < len(offers) < 85


def test_replacement__base_fee_jumped__follows_it() -> None:
    raised = replacement(Fees(max_fee_wei=2 * 10**6, priority_fee_wei=0), 10**9, RULES)
    assert raised == Fees(max_fee_wei=2 * 10**9, priority_fee_wei=1)


def test_first_offer__base_fee_above_the_cap__is_none() -> None:
    assert first_offer(10**10 + 1, RULES) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"raise_ppm": 99_999},
        {"headroom_ppm": 999_999},
        {"gas_margin_ppm": 1},
        {"priority_fee_wei": 10**10},
        {"max_replacements": -1},
    ],
)
def test_rules__that_could_not_work__are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|at least|refuse"):
        FeeRules(**wrong)


def test_gas_limit__margin__is_added_and_rounded_up() -> None:
    assert gas_limit(100_001, RULES) == 130_002
